// Whatever way a client hears of its jobs, it hears the same bytes, of every job, and they are true. A thousand jobs of
// every kind, heard by SSE, by WebSocket and by webhooks whose receiver is bad at it.
import { once } from 'node:events';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type BadReceiver, startBadReceiver } from '../support/bad-receiver.ts';
import type { Json } from '../support/client.ts';
import { rollDice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { submitMixed } from '../support/mixed-work.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { readEvents } from '../support/sse.ts';

const JOBS = 1_000;
const CANCELED = 20;
const ENDS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'];
/** Longer than the first retry's wait at its longest. */
const RETRY_S = 7;

const seed = Date.now() % 2 ** 32;
console.log(`seed ${seed}`);
const dice = rollDice(seed);
let millrace: TestPlatform;
let receiver: BadReceiver;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
  receiver = await startBadReceiver(dice, { share: 0.06, times: 1 });
  account = await millrace.account({ plan: 'scale', credits: 2_000_000_000 });
});
afterAll(async () => {
  await receiver.close();
  await millrace.stop();
});

/** Bodies of events by id, as a channel brought them. */
type Bodies = Map<string, string>;

async function bySse(until: (heard: Bodies) => boolean): Promise<Bodies> {
  const heard: Bodies = new Map();
  const headers = { authorization: `Bearer ${account.key}` };
  for await (const { data } of readEvents(`${millrace.url}/v1/events`, headers)) {
    heard.set((JSON.parse(data) as Json).id, data);
    if (until(heard)) break;
  }
  return heard;
}

async function byWebSocket(until: (heard: Bodies) => boolean): Promise<Bodies> {
  const socket = new WebSocket(`${millrace.url.replace('http', 'ws')}/v1/ws`, ['millrace.v1'], {
    headers: { authorization: `Bearer ${account.key}` },
  });
  const heard: Bodies = new Map();
  const begin = '{"type":"event","subscription":"s1","event":';
  const done = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', (code) => reject(new Error(`closed with ${code}`)));
    socket.on('message', (message: Buffer) => {
      const text = message.toString('utf8');
      if (!text.startsWith(begin)) return;
      const body = text.slice(begin.length, -1);
      heard.set((JSON.parse(body) as Json).id, body);
      if (until(heard)) resolve();
    });
  });
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'subscribe', ref: '1', jobs: 'all', after: 'start' }));
  await done;
  socket.terminate();
  return heard;
}

it(
  'hears the same bytes on every channel, and they are what the jobs are',
  { timeout: 240_000 },
  async () => {
    const { body: endpoint } = await account.post('/v1/webhook-endpoints', { url: receiver.url });
    const ended = (heard: Bodies): boolean =>
      [...heard.values()].filter((body) => ENDS.some((type) => body.includes(`"type":"${type}"`))).length >
      JOBS;
    const [sse, socket] = [bySse(ended), byWebSocket(ended)];
    const ids = await submitMixed(account, { count: JOBS, dice });
    await Promise.all(ids.slice(0, CANCELED).map((id) => account.post(`/v1/jobs/${id}/cancel`)));
    const [told, said] = await Promise.all([sse, socket]);

    const ends = [...told].filter(([, body]) => ENDS.includes((JSON.parse(body) as Json).type));
    // One more than was asked for: the sound that is heard again.
    expect(ends).toHaveLength(JOBS + 1);
    expect(Object.fromEntries(said)).toEqual(Object.fromEntries(told));

    // What failed at first comes again; the database's clock need not be waited for, now that no lease hangs on it.
    await eventually(
      async () => {
        await millrace.sql(
          `update clock set shift = shift + interval '${RETRY_S} seconds' where not exists (select 1 from deliveries where calling_until is not null)`,
        );
        return ends.every(([id]) => receiver.taken.has(id));
      },
      { what: 'every webhook has come', withinMs: 120_000, everyMs: 1_000 },
    );
    expect(Math.min(...Object.values(receiver.bad))).toBeGreaterThan(0);
    const reference = new Webhook(endpoint.secret);
    for (const [id, body] of ends) {
      for (const arrival of receiver.taken.get(id) ?? []) {
        expect(arrival.body).toBe(body);
        reference.verify(arrival.body, arrival.headers);
      }
    }

    for (const [, body] of ends) {
      const { data } = JSON.parse(body) as Json;
      const { body: job } = await account.get(`/v1/jobs/${data.id}`);
      const { output_omitted: omitted, links, ...fields } = data;
      if (omitted) delete fields.output;
      expect(job).toMatchObject(fields);
      // Absolute, since a webhook's reader does not know where it came from.
      expect(links.self).toBe(new URL(job.links.self, millrace.url).href);
    }
    const lost = await millrace.sql(`select status, count(*)::integer from deliveries group by 1`);
    expect(lost).toEqual([{ status: 'delivered', count: JOBS + 1 }]);
  },
);
