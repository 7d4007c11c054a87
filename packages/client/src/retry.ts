// One request, tried again where that can do no harm.
import { backOff, pause } from './pause.ts';

export type Fetch = (request: Request) => Promise<Response>;

const MOST_WAIT_MS = 60_000;
/** Of what was refused with these, nothing was done. */
const UNDONE: ReadonlySet<number> = new Set([409, 429, 503]);

/**
 * A fetch that repeats what got no answer or a refusal that says `x-should-retry: true`, as long as Retry-After asks. Of
 * POST only what carries an Idempotency-Key is repeated after a lost answer or a fault: it may have been carried out.
 */
export function retrying(fetch: Fetch, tries: number): Fetch {
  return async (request) => {
    const safe = request.method !== 'POST' || request.headers.has('idempotency-key');
    for (let tried = 1; ; tried += 1) {
      const last = tried >= tries;
      try {
        // A request's body can be sent once.
        const response = await fetch(last ? request : request.clone());
        const refused = safe ? !response.ok : UNDONE.has(response.status);
        const again = refused && response.headers.get('x-should-retry') === 'true';
        if (last || !again) return response;
        await response.body?.cancel();
        await pause(askedPause(response.headers) ?? backOff(tried), request.signal);
      } catch (error) {
        if (last || !safe || request.signal.aborted) throw error;
        await pause(backOff(tried), request.signal);
      }
    }
  };
}

function askedPause(headers: Headers): number | null {
  const ms = Number(headers.get('retry-after-ms') ?? Number.NaN);
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  const asked = Number.isFinite(ms) ? ms : seconds * 1_000;
  return Number.isFinite(asked) ? Math.min(Math.max(asked, 0), MOST_WAIT_MS) : null;
}
