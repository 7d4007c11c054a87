// Accounts of which the books were opened, looked at in pages, and their checkpoints moved.
import type { Context } from '../context.ts';
import { persistently } from '../db/transaction.ts';
import { compareBooks, isAhead } from '../ledger/audit-books.ts';
import { forgetCheckpoints, type LotSums, saveCheckpoints } from '../ledger/audit-checkpoints.ts';
import { auditEntries, jobsOfEntries } from '../ledger/audit-entries.ts';
import { auditEvents, jobsOfEvents } from '../ledger/audit-events.ts';
import type { Findings } from '../ledger/audit-findings.ts';
import { allJobs, auditJobs, type JobId, unendedJobs } from '../ledger/audit-jobs.ts';
import type { ArtifactReader } from './audit-artifacts.ts';
import type { Subject } from './audit-subject.ts';

export interface GroupAudit {
  findings: Findings;
  artifacts: ArtifactReader;
  from: 'nothing' | 'checkpoints';
  /** Whether checkpoints are moved. */
  writes: boolean;
}

/** An entry and an event that name one job come soon after each other; beyond that a job may be judged twice. */
const REMEMBERED = 100_000;
const SAVE_MS = 30_000;

export async function auditGroup(ctx: Context, group: readonly Subject[], run: GroupAudit): Promise<void> {
  const { findings } = run;
  const resumed = group.filter(({ since }) => since !== null);
  const whole = group.filter(({ since }) => since === null);
  const isResumed = new Set(resumed.map(({ id }) => id));
  const judge = judgeOnce(ctx, findings);

  const sums = new Map(group.map(({ id, since }) => [id, new Map<string, LotSums>(since?.lots)]));
  const entries = group.map((subject) => subject.entries);
  for await (const { pack, rows, breaches } of auditEntries(ctx.flow, entries, sums)) {
    findings.looked('I1', rows);
    findings.found(breaches);
    const after = pack.filter(({ accountId }) => isResumed.has(accountId));
    if (after.length > 0) await judge(await jobsOfEntries(ctx.flow, after));
  }
  for (const subject of group) findings.found(compareBooks(subject, sums.get(subject.id) ?? new Map()));

  const events = group.map((subject) => subject.events);
  for await (const { pack, rows, breaches } of auditEvents(ctx.flow, events)) {
    findings.looked('I4', rows);
    findings.found(breaches);
    const after = pack.filter(({ accountId }) => isResumed.has(accountId));
    // The end of a job that held nothing has an event and no entry.
    if (after.length > 0) await judge(await jobsOfEvents(ctx.flow, after));
  }

  for await (const ids of unendedJobs(ctx.flow, resumed)) await judge(ids);
  for await (const ids of allJobs(ctx.flow, whole)) await judge(ids);
  const seen = await run.artifacts.check(group, findings);
  if (run.writes) await moveCheckpoints(ctx, { group, run, sums, seen });
}

function judgeOnce(ctx: Context, findings: Findings): (ids: JobId[]) => Promise<void> {
  const judged = new Set<string>();
  // An entry may name another account's job: that it is none of its own says nothing of the job itself.
  const nameOf = ({ account_id, id }: JobId): string => `${account_id} ${id}`;
  return async (ids) => {
    const fresh = ids.filter((job) => !judged.has(nameOf(job)));
    if (judged.size > REMEMBERED) judged.clear();
    for (const job of fresh) judged.add(nameOf(job));
    for (const invariant of ['I2', 'I4', 'I5'] as const) findings.looked(invariant, fresh.length);
    findings.found(await auditJobs(ctx.flow, fresh));
  };
}

interface AuditedGroup {
  group: readonly Subject[];
  run: GroupAudit;
  sums: ReadonlyMap<string, ReadonlyMap<string, LotSums>>;
  /** Accounts of which artifacts were read. */
  seen: ReadonlySet<string>;
}

async function moveCheckpoints(ctx: Context, { group, run, sums, seen }: AuditedGroup): Promise<void> {
  const { wrong } = run.findings;
  const right = group.filter(
    ({ id, checkpoint, ledgerSequence, eventSequence }) =>
      !wrong.has(id) &&
      // A row a change: of most accounts nothing is new.
      (checkpoint?.ledgerSequence !== ledgerSequence ||
        checkpoint.eventSequence !== eventSequence ||
        seen.has(id)),
  );
  const checkpoints = right.map(({ id, ledgerSequence, eventSequence, checkpoint, at }) => ({
    accountId: id,
    ledgerSequence,
    eventSequence,
    lots: sums.get(id) ?? new Map<string, LotSums>(),
    at,
    instead: checkpoint?.version ?? null,
  }));
  // A checkpoint that is ahead of its account is the evidence, and stays.
  const hiding =
    run.from === 'nothing' ? group.filter((subject) => wrong.has(subject.id) && !isAhead(subject)) : [];
  await persistently(
    async () => {
      await saveCheckpoints(ctx.flow, checkpoints);
      await forgetCheckpoints(
        ctx.flow,
        hiding.map(({ id }) => id),
      );
    },
    { forMs: SAVE_MS },
  );
}
