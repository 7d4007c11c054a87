// What operators are told of settlements, once they are committed: counted each, and failures in the log.
import type { Context } from '../context.ts';
import type { EndedAttempt } from '../store/attempts.ts';
import type { Changes } from './changes.ts';

/** What a client's input is to blame for is the client's to be told, and no vendor's trouble. */
export function count(ctx: Context, { ended, attempts }: Pick<Changes, 'ended' | 'attempts'>): void {
  ctx.counts.ended(ended);
  ctx.counts.attempted(attempts);
  for (const attempt of attempts)
    if (attempt.errorCode !== null && !attempt.errorCode.startsWith('input_')) tell(ctx, attempt);
}

function tell(ctx: Context, attempt: EndedAttempt): void {
  const { routeId, errorCode, outcome, jobId, evidenceJson, oursToMend } = attempt;
  const route = ctx.catalogue().routes.get(routeId);
  // Without a status there is no word of the vendor's, and `note` is the connection's own error, such as ECONNREFUSED.
  const { http_status: status = null, note = null } = JSON.parse(evidenceJson ?? '{}') as {
    http_status?: number | null;
    note?: string | null;
  };
  const about = { route: routeId, code: errorCode, outcome };
  const ours = oursToMend || errorCode === 'internal' || errorCode === 'storage_unavailable';
  const what = oursToMend
    ? 'attempts fail: the vendor refuses our key, our bill or our rights'
    : 'attempts fail';
  ctx.alarms.raise(ours ? 'error' : 'warn', what, {
    about,
    example: {
      model: route?.modelId ?? '',
      provider: route?.provider ?? '',
      job: jobId,
      ...(status === null ? note !== null && { note } : { status: String(status) }),
    },
  });
}
