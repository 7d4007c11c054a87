// Work that a vendor does under a name of its own: asked for until it is done. A poll that is lost says nothing of the work,
// nor does a status that nobody here knows; that the work is unknown is believed only once it has been said often.
import type { Agent } from 'undici';
import { type Ended, evidenceOf, exchange, type Request } from './exchange.ts';
import { failed, parsed, retryAfterMs, TOO_LARGE, TOO_LATE } from './failure.ts';
import type { Call, CallResult } from './provider.ts';

/** One poll may take so long, and be silent for so long. */
const POLL_MS = 60_000;
const POLL_IDLE_MS = 15_000;
const SLOWER = 1.5;
/** So many answers in a row that there is no such work are believed. */
const MOST_UNKNOWN = 4;

/** The pauses between polls, in ms: from the first they grow to the last. */
export interface Pace {
  firstMs: number;
  mostMs: number;
}

export interface Polled {
  agent: Agent;
  call: Call;
  /** What asks for the work once. */
  request: Pick<Request, 'origin' | 'path' | 'headers' | 'maxBytes'>;
  pace: Pace;
  /** Most ms until the work is done. */
  totalMs: number;
  /** What an answer with status 200 says; `body` is its JSON, undefined where it is none. */
  read(body: unknown, ended: Ended): Verdict | Promise<Verdict>;
}

/** `goes on`, with the status where it is one that the adapter does not know. */
export type Verdict = { is: 'done'; result: CallResult } | { is: 'goes on'; strange?: string };

/** Until the work is done, the signal comes or the time is over. Null: the vendor knows nothing of the work. */
export async function pollUntilDone(polled: Polled): Promise<CallResult | null> {
  const { agent, call, request, pace, totalMs, read } = polled;
  const until = performance.now() + totalMs;
  const strange = new Set<string>();
  let unknown = 0;
  for (let wait = pace.firstMs; ; wait = Math.min(wait * SLOWER, pace.mostMs)) {
    const restMs = until - performance.now();
    const ended = await exchange(agent, {
      ...request,
      method: 'GET',
      body: null,
      signal: call.signal,
      totalMs: Math.max(1, Math.min(restMs, POLL_MS)),
      idleMs: POLL_IDLE_MS,
    });
    // Whatever became of this poll, the work itself was sent.
    if (ended.how === 'stopped') return stoppedWork(ended);
    if (ended.how === 'too_large') return failed(ended, TOO_LARGE);
    const verdict = whole(ended) ? await read(parsed(ended.body), ended) : refused(ended);
    if (verdict.is === 'done') return noted(verdict.result, strange);
    if (verdict.strange !== undefined && !strange.has(verdict.strange)) {
      strange.add(verdict.strange);
      call.tell(verdict.strange);
    }
    if (performance.now() >= until) return noted(failed({ ...ended, sent: true }, TOO_LATE), strange);
    unknown = ended.head?.status === 404 ? unknown + 1 : 0;
    if (unknown === MOST_UNKNOWN) return null;
    const asked = (ended.head && retryAfterMs(ended.head.headers)) ?? 0;
    await call.pause(Math.max(0, Math.min(Math.max(wait, asked), until - performance.now())));
  }
}

export const stoppedWork = (ended: Ended): CallResult => ({
  type: 'stopped',
  text: '',
  usage: null,
  evidence: { ...evidenceOf(ended), sent: true },
});

const whole = ({ how, head }: Ended): boolean => how === 'done' && head?.status === 200;

/** What passes by itself is not worth a word. */
function refused({ how, head }: Ended): Verdict {
  const status = how === 'done' ? head?.status : undefined;
  if (status === undefined || status === 404 || status === 429 || status === 408 || status >= 500)
    return { is: 'goes on' };
  return { is: 'goes on', strange: `a poll was answered with HTTP ${status}` };
}

function noted(result: CallResult, strange: Set<string>): CallResult {
  if (strange.size === 0) return result;
  const note = [...strange, ...(result.evidence.note ? [result.evidence.note] : [])].join('; ').slice(0, 500);
  return { ...result, evidence: { ...result.evidence, note } };
}

/** For `strange`: a status in the vendor's words, which are worth no more than a word. */
export const unknownStatus = (status: unknown): string =>
  typeof status === 'string' && /^[\w.-]{1,40}$/.test(status)
    ? `the work had the unknown status ${status}`
    : 'the work had no status';
