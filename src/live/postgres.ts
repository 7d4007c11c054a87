import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bus, Listeners, pack, type Wake } from './bus.ts';

const CHANNEL = 'millrace';
const AGAIN_MS = 200;

/** Wake-ups by LISTEN and NOTIFY: one connection to hear, one to speak. */
export async function openPostgresBus(url: string, onError: (error: Error) => void): Promise<Bus> {
  const listeners = new Listeners(onError);
  const connection = {
    connectionString: url,
    options: '-c role=millrace_flow',
    application_name: 'millrace_bus',
    connectionTimeoutMillis: 5_000,
    // The ear is silent for hours: without probes it would not notice that the other side is gone.
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
  };
  const speaker = new pg.Pool({ ...connection, max: 1 });
  speaker.on('error', onError);
  speaker.on('connect', (client) => client.on('error', onError));
  let closed = false;
  let ear: pg.Client | null = null;
  let spoken: Promise<unknown> = Promise.resolve();
  let unsaid: Wake[] = [];

  const listen = async (): Promise<void> => {
    const client = new pg.Client(connection);
    client.on('error', onError);
    client.on('notification', ({ payload }) => listeners.tell(payload ?? ''));
    // One that never came to listen has an end too; only the ear's is followed by another.
    client.on('end', () => {
      if (ear === client) void relisten();
    });
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    if (closed) return client.end();
    ear = client;
  };

  const relisten = async (): Promise<void> => {
    ear = null;
    while (!closed) {
      try {
        await listen();
        return listeners.tell('missed');
      } catch (error) {
        onError(error as Error);
        await sleep(AGAIN_MS);
      }
    }
  };

  // One NOTIFY in flight: what is published meanwhile goes with the next, since every NOTIFY takes a lock of the whole cluster.
  const speak = async (): Promise<void> => {
    while (unsaid.length > 0) {
      const wakes = unsaid;
      unsaid = [];
      try {
        await speaker.query({
          name: 'notify',
          text: `select pg_notify('${CHANNEL}', m) from unnest($1::text[]) m`,
          values: [pack(wakes)],
        });
      } catch (error) {
        onError(error as Error);
        if (closed) return;
        // One word stands for all that was lost, and for what comes until it can be said.
        unsaid = [{ type: 'missed' }];
        await sleep(AGAIN_MS);
      }
    }
  };

  await listen();
  return {
    publish(wakes) {
      if (closed || wakes.length === 0) return;
      listeners.tellOwn(wakes);
      if (unsaid.length === 0) spoken = spoken.then(speak);
      unsaid.push(...wakes);
    },
    subscribe: (listener) => listeners.add(listener),
    async close() {
      closed = true;
      await spoken;
      const last = ear;
      ear = null;
      await last?.end().catch(() => {});
      await speaker.end();
    },
  };
}
