import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { Answered, Egress, EgressRequest, Opened, Refusal, Reply, Unanswered } from './egress.ts';
import { EgressCut } from './egress.ts';
import { failureOf } from './failure.ts';
import { Refused } from './dial.ts';
import { type Exchange, exchange } from './exchange.ts';
import { judge, type Target } from './judge.ts';
import { type Resolve, systemResolve } from './resolve.ts';
import { Term } from './term.ts';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MOST_LOCATION = 2_048;
/** What is the connection's, and nothing a caller has a say in. */
const OURS =
  /^(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/i;

export interface EgressOptions {
  /** Hosts as `canonicalHost` gives them. */
  allow: readonly string[];
  resolve?: Resolve;
}

export function openEgress({ allow, resolve = systemResolve() }: EgressOptions): Egress {
  const allowed: ReadonlySet<string> = new Set(allow);
  const open = new Set<Term>();

  /** @throws Refused */
  const judged = (url: string): Target => {
    const verdict = judge(url, allowed);
    if ('refusal' in verdict) throw new Refused(verdict.refusal);
    return verdict.target;
  };

  /** The first answer that is no redirect to follow. */
  async function answerTo(request: EgressRequest, term: Term): Promise<Exchange> {
    let target = judged(request.url);
    let headers = request.headers;
    for (let hops = request.maxHops; ; hops--) {
      const answer = await exchange(target, { ...request, headers, resolve, signal: term.signal });
      const { location } = answer.headers;
      const followed = hops > 0 && request.method === 'GET' && REDIRECTS.has(answer.status);
      if (!followed || location === undefined) return answer;
      answer.close();
      const next = judged(URL.parse(location, target.url)?.href ?? '');
      if (next.origin !== target.origin) headers = {};
      target = next;
    }
  }

  async function begin<T>(
    request: EgressRequest,
    use: (answer: Exchange, term: Term) => Promise<T> | T,
  ): Promise<T | Unanswered> {
    const ours = Object.keys(request.headers).find((name) => OURS.test(name));
    if (ours !== undefined) throw new TypeError(`the header ${ours} is the connection's`);
    const term = new Term(request.totalMs, request.signal);
    open.add(term);
    const done = (): void => {
      term.release();
      open.delete(term);
    };
    try {
      const answer = await answerTo(request, term);
      answer.onClose(done);
      return await use(answer, term);
    } catch (error) {
      done();
      const ms = term.ms();
      if (term.ended) return { how: term.ended, ms };
      if (error instanceof Refused) return { how: 'refused', refusal: error.refusal, ms };
      return { how: 'failed', ...failureOf(error), ms };
    }
  }

  return {
    refusal(url): Refusal | null {
      const verdict = judge(url, allowed);
      return 'refusal' in verdict ? verdict.refusal : null;
    },
    send: (request) =>
      begin<Reply>(request, async (answer, term) => {
        const kept = await keep(answer, request.keepBytes);
        return { ...answered(answer, term), ...kept, ms: term.ms() };
      }),
    open: (request) =>
      begin<Opened>(request, (answer, term) => {
        if (Number(answer.headers['content-length'] ?? 0) > request.maxBytes) {
          answer.close();
          return { how: 'too_large', ms: term.ms() };
        }
        return { ...answered(answer, term), body: bodyOf(answer, { term, maxBytes: request.maxBytes }) };
      }),
    async close() {
      for (const term of open) term.end('stopped');
    },
  };
}

function answered({ status, headers }: Exchange, term: Term): Answered {
  const location = REDIRECTS.has(status) ? (headers.location ?? null) : null;
  return {
    how: 'answered',
    status,
    headers: headers as IncomingHttpHeaders,
    location: location && location.slice(0, MOST_LOCATION),
    ms: term.ms(),
  };
}

/** An answer whose head is there is an answer, whatever becomes of its body. */
async function keep(answer: Exchange, most: number): Promise<{ body: Buffer; truncated: boolean }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer.body) {
      chunks.push((chunk as Buffer).subarray(0, most - bytes));
      bytes += (chunk as Buffer).length;
      if (bytes > most) break;
    }
    return { body: Buffer.concat(chunks), truncated: bytes > most };
  } catch {
    return { body: Buffer.concat(chunks), truncated: true };
  } finally {
    answer.close();
  }
}

function bodyOf(answer: Exchange, { term, maxBytes }: { term: Term; maxBytes: number }): Readable {
  const body = Readable.from(
    (async function* counted() {
      let bytes = 0;
      try {
        for await (const chunk of answer.body) {
          bytes += (chunk as Buffer).length;
          if (bytes > maxBytes) throw new EgressCut('too_large');
          yield chunk as Buffer;
        }
      } catch (error) {
        throw error instanceof EgressCut ? error : new EgressCut(term.ended ?? 'lost');
      }
    })(),
    { objectMode: false },
  );
  return body.once('close', () => answer.close());
}
