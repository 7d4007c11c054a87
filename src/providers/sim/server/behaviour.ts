// How the simulator is asked to behave. A request's body may hold `sim: {latency_ms, fault, times}` (in the multipart form of
// a transcription: a field `sim` with that JSON). All three may be left out.
//
// `latency_ms`  ms from the arrival of the request until its answer is done; a chat stream is spread over it. Default 0.
// `times`       the fault befalls only the first so many calls of the job (as `x-millrace-job` names it), by the
//               simulator's own count. Without it: every call.
// `fault`       one of:
//
// | fault             | at            | what the caller sees                                                   | billed |
// | ----------------- | ------------- | ---------------------------------------------------------------------- | ------ |
// | 429               | once          | 429 `rate_limit_exceeded`, no Retry-After                              | no     |
// | 429-retry-after   | once          | the same with `Retry-After: 1`                                         | no     |
// | 500               | once          | 500 `server_error`                                                     | no     |
// | refusal           | once          | 400 `content_policy_violation`                                         | no     |
// | hang              | never         | no header ever comes                                                   | no     |
// | drip              | from the start| the right answer, one byte every 10 s                                  | no     |
// | cut               | half-way      | half of the answer, then the socket is destroyed                       | no     |
// | malformed         | when done     | 200, and in turn by attempt: broken JSON, a list, an error object      | yes    |
// | wrong-usage       | when done     | the right answer with a usage 1,000 times too high                     | yes    |
// | billed-then-lost  | when done     | the socket is destroyed before the first byte; /v1/lookup has the result | yes  |
// | async             | once          | 202 `{id, status:"processing"}`; /v1/remote/:id has the result when done | then |
import { type Fault, FAULTS } from '../../../domain/faults.ts';
import { SimError } from './answer.ts';

export interface Behaviour {
  latencyMs: number;
  fault: Fault | null;
  /** Null: every call. */
  times: number | null;
}

const NONE: Behaviour = { latencyMs: 0, fault: null, times: null };
const MOST_LATENCY_MS = 3_600_000;

/** @throws SimError 400 for what is not in the table above: a misspelt fault must not look like a success. */
export function behaviourOf(asked: unknown): Behaviour {
  if (asked === undefined || asked === null) return NONE;
  if (typeof asked !== 'object' || Array.isArray(asked)) throw refused('sim must be an object');
  const { latency_ms: latencyMs = 0, fault = null, times = null, ...rest } = asked as Record<string, unknown>;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw refused(`sim has no field ${unknown}`);
  if (!isWhole(latencyMs, MOST_LATENCY_MS))
    throw refused(`sim.latency_ms must be a whole number to ${MOST_LATENCY_MS}`);
  if (times !== null && !isWhole(times, Number.MAX_SAFE_INTEGER))
    throw refused('sim.times must be a whole number');
  const known = fault === null ? null : FAULTS.find((name) => name === String(fault));
  if (known === undefined) throw refused(`sim.fault must be one of ${FAULTS.join(', ')}`);
  return { latencyMs, fault: known, times };
}

const isWhole = (value: unknown, most: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;

const refused = (message: string): SimError => new SimError(400, 'invalid_sim', message);

/** How many jobs' faulty calls are counted at most; the oldest are forgotten first. */
const MOST_JOBS = 100_000;

/** Counts the faulty calls of each job, for `times`. */
export class FaultCount {
  readonly #calls = new Map<string, number>();

  /** The fault that befalls this call, if any; counts it. A call without a job id has no count, so always its fault. */
  next({ fault, times }: Behaviour, jobId: string | null): Fault | null {
    if (fault === null || times === null || jobId === null) return fault;
    const calls = this.#calls.get(jobId) ?? 0;
    if (calls >= times) return null;
    this.#calls.set(jobId, calls + 1);
    if (this.#calls.size > MOST_JOBS) this.#calls.delete(this.#calls.keys().next().value as string);
    return fault;
  }
}
