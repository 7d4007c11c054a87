// A job as it is now, with its place in the line and what is to be expected. Read as the client's own role.
import type { Context } from '../context.ts';
import type { Db } from '../db/pool.ts';
import { readAs } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { isId } from '../domain/ids.ts';
import { isFinal } from '../domain/job.ts';
import { type Job, type QueuePlace, renderJob } from '../domain/job-view.ts';
import { expectations, type Expectation } from '../store/expectations.ts';
import { findJobs } from '../store/jobs.ts';
import { positionInLine } from '../store/line.ts';

export interface Shown {
  job: Job;
  json: string;
  /** Changes with everything a client compares, and not with the estimate. */
  etag: string;
}

export interface Shower {
  /** @throws AppError not_found */
  show(caller: { accountId: string; slots: number }, jobId: string): Promise<Shown>;
  /** The same for a job just read or written. @param db a transaction that reads for the caller, if there is one */
  render(db: Db | null, caller: { accountId: string; slots: number }, job: Job): Promise<Shown>;
  /** Many of one caller, read in one go. */
  renderAll(caller: { accountId: string; slots: number }, jobs: readonly Job[]): Promise<Shown[]>;
  /** Expected milliseconds until a job of that model ends that waits at that place of the line; null: nothing can be said. */
  eta(
    caller: { accountId: string; slots: number },
    job: { model: string; position: number },
  ): Promise<number | null>;
  /** @param model null: of all its models */
  expectation(accountId: string, model: string | null): Promise<Expectation>;
}

const WINDOW_MS = 15 * 60_000;
const EXPECTATION_MS = 15_000;
const EXPECTATIONS_MAX = 10_000;
const SAMPLES_MIN = 20;

export function openShower(ctx: Context): Shower {
  const known = new Map<string, { value: Expectation; until: number }>();

  const expectation = async (accountId: string, model: string | null): Promise<Expectation> => {
    const key = `${accountId} ${model ?? ''}`;
    const cached = known.get(key);
    if (cached && cached.until > performance.now()) return cached.value;
    const value = await expectations(ctx.flow, { accountId, model, since: new Date(Date.now() - WINDOW_MS) });
    if (known.size >= EXPECTATIONS_MAX) known.delete(known.keys().next().value ?? '');
    known.set(key, { value, until: performance.now() + EXPECTATION_MS });
    return value;
  };

  const render: Shower['render'] = async (db, caller, job) => {
    const place = job.status === 'queued' ? await placeOf(db, job) : null;
    const etaMs = isFinal(job.status)
      ? null
      : estimate(await expectation(job.accountId, job.model), { job, place, slots: caller.slots });
    return {
      job,
      json: await withInput(ctx, job, (shown) => renderJob(shown, { place, etaMs })),
      etag: etagOf(job, place),
    };
  };

  const placeOf = async (db: Db | null, job: Job): Promise<QueuePlace> => {
    if (job.slot !== null) return { position: 0, waiting_for: 'worker' };
    const waiting_for = job.dueAt === null ? 'slot' : 'retry';
    const count = (tx: Db) => positionInLine(tx, { accountId: job.accountId, jobId: job.id });
    return { position: await (db ? count(db) : readAs(ctx.client, job.accountId, count)), waiting_for };
  };

  return {
    expectation,
    render,
    async eta({ accountId, slots }, { model, position }) {
      const job = { status: 'queued', startedAt: null } as const;
      const place = { position, waiting_for: 'slot' } as const;
      return estimate(await expectation(accountId, model), { job, place, slots });
    },
    renderAll: (caller, jobs) =>
      readAs(ctx.client, caller.accountId, (tx) => Promise.all(jobs.map((job) => render(tx, caller, job)))),
    async show(caller, jobId) {
      if (!isId('job', jobId)) throw new AppError('not_found');
      return readAs(ctx.client, caller.accountId, async (tx) => {
        const job = (await findJobs(tx, [{ accountId: caller.accountId, jobId }])).get(jobId);
        if (!job) throw new AppError('not_found');
        return render(tx, caller, job);
      });
    },
  };
}

/** Expected milliseconds until the end: the line ahead in rounds of its slots, then the job itself. */
function estimate(
  { runMs, samples, clockMs }: Expectation,
  { job, place, slots }: { job: Pick<Job, 'status' | 'startedAt'>; place: QueuePlace | null; slots: number },
): number | null {
  if (samples < SAMPLES_MIN || runMs === null) return null;
  if (job.startedAt && job.status === 'running')
    return Math.max(0, Math.round(runMs - (clockMs + performance.now() - job.startedAt.getTime())));
  const rounds =
    1 + (place && place.waiting_for === 'slot' ? 1 + Math.floor(place.position / Math.max(slots, 1)) : 0);
  return Math.round(runMs * rounds);
}

function etagOf(job: Job, place: QueuePlace | null): string {
  const parts = [
    job.version,
    place?.position ?? '',
    job.cancelRequestedAt ? 'c' : '',
    job.dataDeletedAt ? 'd' : '',
  ];
  return `"${job.id}.${parts.join('.')}"`;
}

/** A long input is read back from where it is kept. */
async function withInput(ctx: Context, job: Job, render: (job: Job) => string): Promise<string> {
  if (job.inputJson !== null || job.inputKey === null || job.dataDeletedAt) return render(job);
  const input = await ctx.storage.read(job.inputKey).catch(() => null);
  return render({ ...job, inputJson: input?.toString('utf8') ?? null });
}
