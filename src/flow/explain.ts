// Each credit of a job accounted for: what was held from which lot, what was called, what was kept and what went back.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { isId } from '../domain/ids.ts';
import { money } from '../domain/money.ts';
import { jobMovements } from '../ledger/movements.ts';
import { attemptsOf } from '../store/attempts.ts';
import { findJobs } from '../store/jobs.ts';

/** @throws AppError not_found */
export async function explain(ctx: Context, accountId: string, jobId: string) {
  if (!isId('job', jobId)) throw new AppError('not_found');
  return readAs(ctx.client, accountId, async (tx) => {
    const job = (await findJobs(tx, [{ accountId, jobId }])).get(jobId);
    if (!job) throw new AppError('not_found');
    const movements = await jobMovements(tx, { accountId, jobId });
    const attempts = await attemptsOf(tx, { accountId, jobId });
    const sum = (type: string): bigint =>
      movements.filter((line) => line.type === type).reduce((total, { amount }) => total + amount, 0n);
    const byLot = (type: string) =>
      movements
        .filter((line) => line.type === type)
        .map(({ lotId, amount }) => ({ lot_id: lotId, ...money(amount) }));
    const [held, captured, released] = [sum('hold'), sum('capture'), sum('release')];
    return {
      object: 'explanation',
      job_id: job.id,
      status: job.status,
      price_version: job.priceId,
      price:
        ctx
          .catalogue()
          .prices.get(job.priceId)
          ?.map(({ creditsPerMillion, ...line }) => ({
            ...line,
            credits_per_million: String(creditsPerMillion),
          })) ?? null,
      bounds: JSON.parse(job.boundsJson) as unknown,
      hold: { ...money(held), lots: byLot('hold') },
      attempts: attempts.map((attempt) => ({
        attempt: attempt.attempt,
        route_id: attempt.routeId,
        slot: attempt.slot,
        started_at: attempt.startedAt,
        ended_at: attempt.endedAt,
        outcome: attempt.outcome,
        error_code: attempt.errorCode,
        remote_id: attempt.remoteId,
        provider: attempt.evidenceJson === null ? null : (JSON.parse(attempt.evidenceJson) as unknown),
        usage: attempt.usageJson === null ? null : (JSON.parse(attempt.usageJson) as unknown),
      })),
      settlement: {
        captured: { ...money(captured), lots: byLot('capture') },
        released: { ...money(released), lots: byLot('release') },
        open: money(held - captured - released),
        usage: job.usageJson === null ? null : (JSON.parse(job.usageJson) as unknown),
      },
    };
  });
}
