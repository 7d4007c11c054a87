// Settlement: what attempts came to becomes what their jobs are, cost and say, in one transaction a list. The only
// writer of a running job's end.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Tx } from '../db/pool.ts';
import { isConnectionError, LIST_LOCK_MS, persistently, transaction } from '../db/transaction.ts';
import type { Bell } from '../domain/job.ts';
import { conclude, type Outcome, type Settling, type Verdict } from '../domain/outcome.ts';
import { priceOf } from '../domain/pricing.ts';
import { openRoutes } from '../domain/routes.ts';
import type { UsageLine } from '../domain/job.ts';
import type { Evidence } from '../providers/provider.ts';
import type { Artifact } from '../store/artifacts.ts';
import { findRunning, type OpenJob } from '../store/open-jobs.ts';
import type { Announcer } from './announce.ts';
import { type Changes, endJob, openChanges, sendBack, writeChanges } from './changes.ts';
import { count } from './tell.ts';

/** An attempt that is over. */
export interface Settlement {
  accountId: string;
  jobId: string;
  /** The attempt's number; if the job has moved on, the settlement is void. */
  epoch: number;
  outcome: Outcome;
  evidence: Evidence | null;
  /** Stored already; they become the job's with its end. */
  artifacts: Artifact[];
}

/** False: the job was not this attempt's any more, and nothing was written. */
export type Settle = (settlement: Settlement) => Promise<boolean>;

const LIST_MAX = 200;
/** Characters of output that weigh as much as a settlement: a list of long ones is short. */
const OUTPUT_WEIGHT = 64 * 1024;
/** An outcome in hand is offered for as long as a database restart may reasonably take. */
const PATIENCE_MS = 10 * 60_000;

export function openSettlement(ctx: Context, announcer: Announcer): Settle {
  return groupCommit((list: Settlement[], forMs) => settleList(ctx, announcer, { list, forMs }), {
    max: LIST_MAX,
    // As in admission: two lists would mostly wait for each other's accounts.
    inFlight: 1,
    weight: ({ outcome }) => 1 + ('output' in outcome ? (outcome.output?.length ?? 0) / OUTPUT_WEIGHT : 0),
    lane: (settlement) => settlement.accountId,
    patienceMs: PATIENCE_MS,
  });
}

async function settleList(
  ctx: Context,
  announcer: Announcer,
  { list, forMs }: { list: Settlement[]; forMs: number },
): Promise<boolean[]> {
  const { bells, settled, changes } = await persistently(
    () => transaction(ctx.flow, (tx) => settleIn(tx, ctx, list), { lockMs: LIST_LOCK_MS }),
    { forMs, on: isConnectionError },
  );
  crashPoint('settle-after-commit');
  count(ctx, changes);
  announcer.ring(bells);
  announcer.deliver(changes.toDeliver);
  announcer.wake([...settled].map(({ accountId, jobId }) => ({ type: 'job', accountId, jobId })));
  return list.map((settlement) => settled.has(settlement));
}

async function settleIn(
  tx: Tx,
  ctx: Context,
  list: Settlement[],
): Promise<{ bells: Bell[]; settled: Set<Settlement>; changes: Changes }> {
  const { changes, jobs } = await openChanges(ctx, tx, {
    wanted: list,
    lock: (tx) => findRunning(tx, list),
  });
  await knowAll(ctx, jobs.values());
  const settled = new Set<Settlement>();
  for (const settlement of list) {
    const job = jobs.get(settlement.jobId);
    if (!job || job.epoch !== settlement.epoch) continue;
    // Taken once: what comes after it in the list comes too late.
    jobs.delete(job.id);
    apply(changes, job, settlement);
    settled.add(settlement);
  }
  const bells = settled.size === 0 ? [] : await writeChanges(tx, changes);
  crashPoint('settle-before-commit');
  return { bells, settled, changes };
}

/** A job may come from a process that heard of a new price or route before this one did. */
async function knowAll(ctx: Context, jobs: Iterable<OpenJob>): Promise<void> {
  const { prices, routes } = ctx.catalogue();
  for (const { priceId, routeId } of jobs)
    if (!prices.has(priceId) || !routes.has(routeId)) return ctx.refreshCatalogue();
}

function apply(changes: Changes, job: OpenJob, settlement: Settlement): void {
  const { outcome } = settlement;
  const verdict = conclude(settlingOf(changes.ctx, job), outcome, {
    now: changes.now,
    random: Math.random(),
  });
  if (verdict.type === 'end') {
    endJob(changes, job, verdict);
    if (verdict.status === 'succeeded') changes.artifacts.push(...settlement.artifacts);
  } else {
    sendBack(changes, job, verdict);
  }
  changes.attempts.push({
    accountId: job.accountId,
    jobId: job.id,
    attempt: job.epoch,
    routeId: job.routeId,
    outcome: outcome.type === 'failed' && outcome.ambiguous ? 'ambiguous' : outcome.type,
    errorCode: outcome.type === 'failed' ? outcome.code : null,
    oursToMend: outcome.type === 'failed' && outcome.oursToMend === true,
    evidenceJson: settlement.evidence && JSON.stringify(settlement.evidence),
    ...costs(changes.ctx, job, { outcome, verdict }),
  });
}

function settlingOf(ctx: Context, job: OpenJob): Settling {
  const price = ctx.catalogue().prices.get(job.priceId);
  const model = ctx.catalogue().models.get(job.model);
  if (!price) throw new Error(`the price ${job.priceId} of ${job.id} is not known`);
  return {
    ...job,
    price,
    routes: model ? openRoutes(model, job).length : 1,
    cancelRequested: job.cancelRequestedAt ? ((job.canceledBy ?? 'client') as 'client') : null,
  };
}

/** What the vendor charges the operator for the attempt, by the route's own price. */
function costs(ctx: Context, job: OpenJob, { outcome, verdict }: { outcome: Outcome; verdict: Verdict }) {
  const usage = usageOf(outcome);
  const cost = (lines: UsageLine[] | null) =>
    lines && priceOf(ctx.catalogue().routes.get(job.routeId)?.cost ?? [], lines);
  return {
    usageJson: usage && JSON.stringify(usage),
    providerCost: cost(usage),
    waste: cost(verdict.waste),
    overrun: verdict.type === 'end' ? verdict.overrun : null,
  };
}

function usageOf(outcome: Outcome): UsageLine[] | null {
  switch (outcome.type) {
    case 'succeeded':
    case 'stopped':
      return outcome.usage;
    case 'failed':
      return outcome.billed;
    case 'interrupted':
      return outcome.used && outcome.used.usage;
  }
}
