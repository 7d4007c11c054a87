// The ends an attempt can have besides success, as its settlement takes them.
import type { UsageLine } from '../domain/job.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Evidence } from '../providers/provider.ts';
import type { Settlement } from './settle.ts';

export type Ended = Pick<Settlement, 'outcome' | 'evidence' | 'artifacts'>;

export function broken(): Ended {
  return failed({ code: 'internal', message: 'Something went wrong on our side.', retryable: true });
}

export function stopped(
  reason: 'cancel' | 'deadline',
  rest: { evidence?: Evidence; output?: string; usage?: UsageLine[] } = {},
): Ended {
  const { evidence = null, output = null, usage = [] } = rest;
  return { outcome: { type: 'stopped', reason, output, usage }, evidence, artifacts: [] };
}

type Failure = Pick<Outcome & { type: 'failed' }, 'code' | 'message' | 'retryable'> &
  Partial<Outcome & { type: 'failed' }>;

export function failed(failure: Failure, evidence: Evidence | null = null): Ended {
  const { code, message, retryable, retryAfterMs = null, ambiguous = false, billed = null } = failure;
  const { oursToMend = false } = failure;
  const unsent = code === 'provider_unavailable' && evidence?.sent === false;
  return {
    outcome: {
      type: 'failed',
      code,
      message,
      retryable,
      retryAfterMs,
      ambiguous,
      unsent,
      oursToMend,
      billed,
    },
    evidence,
    artifacts: [],
  };
}
