// Clients that submit and do not give up: every request carries an Idempotency-Key and is repeated until it is answered.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Client } from './client.ts';

export interface Load {
  /** What clients were told: the job of each key that was accepted. */
  accepted: ReadonlyMap<string, string>;
  /** How often a request had to be repeated because its answer never came. */
  readonly repeats: number;
  /** Of those, how often the job was there already: accepted by an API that could not say so any more. */
  readonly unheard: number;
  /** Keys for which two different jobs were named. Empty, or something is very wrong. */
  twins: string[];
  /** So many requests at once, on top. Resolves once each is accepted. */
  burst(count: number): Promise<void>;
  /** Ends the clients; each gets its last answer first. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  /** Each of them has one request open at a time. */
  clients: readonly Client[];
  /** Between two requests of a client. */
  pauseMs: number;
  /** The body of the n-th request. */
  job(n: number): Record<string, unknown>;
}

let loads = 0;

export function startLoad({ clients, pauseMs, job }: LoadOptions): Load {
  const accepted = new Map<string, string>();
  const twins: string[] = [];
  const name = `load${++loads}`;
  let stopped = false;
  let repeats = 0;
  let unheard = 0;
  let count = 0;

  const submit = async (client: Client): Promise<void> => {
    const n = ++count;
    const key = `${name}-${n}`;
    // Every tenth client does not trust the answer that came, and asks again.
    let cut = false;
    for (let asks = n % 10 === 0 ? 2 : 1; asks > 0;) {
      const answer = await ask(client, { body: job(n), key });
      if (answer === null) {
        repeats += 1;
        cut = true;
        await sleep(50);
        continue;
      }
      const { id, replayed } = answer;
      if (cut && replayed && !accepted.has(key)) unheard += 1;
      if ((accepted.get(key) ?? id) !== id) twins.push(key);
      accepted.set(key, id);
      asks -= 1;
    }
  };
  const loop = async (client: Client): Promise<void> => {
    while (!stopped) {
      await submit(client);
      await sleep(pauseMs);
    }
  };
  const loops = clients.map(loop);
  return {
    accepted,
    twins,
    get repeats() {
      return repeats;
    },
    get unheard() {
      return unheard;
    },
    async burst(count) {
      await Promise.all(Array.from({ length: count }, (_, i) => submit(clients[i % clients.length]!)));
    },
    async stop() {
      stopped = true;
      await Promise.all(loops);
    },
  };
}

/** Null: ask again. Throws on a refusal that asking again will not change. */
async function ask(
  client: Client,
  { body, key }: { body: Record<string, unknown>; key: string },
): Promise<{ id: string; replayed: boolean } | null> {
  let answer: Answer;
  try {
    answer = await client.post('/v1/jobs', body, { 'idempotency-key': key });
  } catch {
    return null;
  }
  if (answer.status === 200 || answer.status === 202)
    return { id: answer.body.id as string, replayed: answer.headers['idempotent-replayed'] === 'true' };
  if (answer.status >= 500 || answer.status === 429) return null;
  throw new Error(`refused: ${answer.status} ${JSON.stringify(answer.body)}`);
}
