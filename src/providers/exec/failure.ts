// From a run that brought no result to the value that the worker acts on. Never ambiguous: nobody bills for a run, so
// one whose end nobody saw is simply repeated.
import type { JobErrorCode } from '../../domain/job.ts';
import type { CallResult, Evidence } from '../provider.ts';
import type { Ended } from './program.ts';

export function evidenceOf(ended: Ended | null): Evidence {
  return {
    sent: ended?.ran ?? false,
    http_status: null,
    provider_request_id: null,
    first_byte_ms: ended?.firstByteMs ?? null,
    note: ended && noteOf(ended),
  };
}

/** For example `exit code 1; a file is missing`. Words of ours alone. */
function noteOf({ cause, code, signal, hint }: Ended): string {
  const end = code === null ? `signal ${signal ?? 'none'}` : `exit code ${code}`;
  const how = cause === 'exited' ? end : cause;
  return hint === null ? how : `${how}; ${hint}`;
}

interface Failure {
  code: JobErrorCode;
  retryable: boolean;
  message: string;
  note?: string;
}

export function failed(ended: Ended | null, { note, ...failure }: Failure): CallResult {
  const evidence = evidenceOf(ended);
  return {
    type: 'failed',
    ...failure,
    retryAfterMs: null,
    billed: null,
    evidence: note === undefined ? evidence : { ...evidence, note },
  };
}

/** The client asked for what this engine cannot do. */
export const rejected = (message: string): CallResult =>
  failed(null, { code: 'provider_rejected', retryable: false, message });

export const malformed = (ended: Ended, what: string): CallResult =>
  failed(ended, {
    code: 'provider_malformed',
    retryable: true,
    message: `The engine's output was malformed: ${what}.`,
    note: `malformed: ${what}`,
  });

export const stopped = (ended: Ended | null): CallResult => ({
  type: 'stopped',
  text: '',
  usage: null,
  evidence: evidenceOf(ended),
});

/** Null: it ended as it should; what it wrote is still to be understood. */
export function failureOf(ended: Ended): CallResult | null {
  switch (ended.cause) {
    case 'stopped':
      return stopped(ended);
    case 'unstarted':
      return failed(ended, {
        code: 'provider_unavailable',
        retryable: true,
        message: 'The engine could not be started.',
      });
    case 'timeout':
      return failed(ended, {
        code: 'provider_timeout',
        retryable: true,
        message: 'The engine took too long.',
      });
    // The same input would need as much again.
    case 'memory':
      return failed(ended, {
        code: 'provider_rejected',
        retryable: false,
        message: 'The engine needs more memory for this input than it may have.',
      });
    case 'too_large':
      return failed(ended, {
        code: 'output_too_large',
        retryable: false,
        message: "The engine's output is larger than a job may return.",
      });
    case 'exited':
      if (ended.code === 0) return null;
      return failed(ended, {
        code: 'provider_unavailable',
        retryable: true,
        message:
          ended.code === null
            ? `The engine was ended by ${ended.signal ?? 'a signal'}.`
            : `The engine failed with exit code ${ended.code}.`,
      });
  }
}
