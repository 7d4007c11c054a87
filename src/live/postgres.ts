import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bus, Listeners, pack } from './bus.ts';

const CHANNEL = 'millrace';

/** Wake-ups by LISTEN and NOTIFY: one connection to hear, one to speak. */
export async function openPostgresBus(url: string, onError: (error: Error) => void): Promise<Bus> {
  const listeners = new Listeners(onError);
  const speaker = new pg.Pool({
    connectionString: url,
    max: 1,
    options: '-c role=millrace_flow',
    application_name: 'millrace_bus',
  });
  speaker.on('error', onError);
  speaker.on('connect', (client) => client.on('error', onError));
  let closed = false;
  let ear: pg.Client | null = null;
  let spoken: Promise<unknown> = Promise.resolve();
  let unsaid: string[] = [];

  const listen = async (): Promise<void> => {
    const client = new pg.Client({
      connectionString: url,
      options: '-c role=millrace_flow',
      application_name: 'millrace_bus',
      keepAlive: true,
    });
    client.on('error', onError);
    client.on('end', () => void relisten());
    client.on('notification', ({ payload }) => listeners.tell(payload ?? ''));
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    ear = client;
  };

  const relisten = async (): Promise<void> => {
    ear = null;
    while (!closed) {
      await sleep(200);
      try {
        return await listen();
      } catch (error) {
        onError(error as Error);
      }
    }
  };

  // One NOTIFY in flight: what is published meanwhile goes with the next, since every NOTIFY takes a lock of the whole cluster.
  const speak = async (): Promise<void> => {
    const messages = unsaid;
    unsaid = [];
    if (messages.length === 0) return;
    await speaker
      .query({
        name: 'notify',
        text: `select pg_notify('${CHANNEL}', m) from unnest($1::text[]) m`,
        values: [messages],
      })
      .catch(onError);
  };

  await listen();
  return {
    publish(wakes) {
      if (closed || wakes.length === 0) return;
      if (unsaid.length === 0) spoken = spoken.then(speak);
      unsaid.push(...pack(wakes));
    },
    subscribe: (listener) => listeners.add(listener),
    async close() {
      closed = true;
      await spoken;
      await ear?.end().catch(() => {});
      await speaker.end();
    },
  };
}
