// WebSockets that are cut at random bytes, again and again, while jobs stream, fail half-way and are canceled: each client
// comes back with its cursors, and none ever misses or repeats anything.
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Role, spawnApi } from '../support/spawn.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const JOBS = 40;
const CUT_BY_THE_PROVIDER = 10;
/** Often within the handshake, and seldom more than some hundred frames. */
const CUT_AFTER = [300, 16_000] as const;

let millrace: TestPlatform;
let account: TestAccount;
let secondApi: Role;
let proxies: TcpProxy[];
beforeAll(async () => {
  millrace = await startPlatform({ backend: 'redis' });
  secondApi = await spawnApi(millrace);
  const trouble = { cutAfter: CUT_AFTER };
  proxies = await Promise.all([millrace.url, secondApi.url].map((url) => startTcpProxy(url, { trouble })));
  account = await millrace.account({ plan: 'scale' });
});
afterAll(async () => {
  await secondApi.kill();
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await millrace.stop();
});

interface Heard {
  /** Of numbered events, their bytes. */
  events: { sequence: number; body: string }[];
  /** What each job has said in its last attempt. */
  words: Map<string, { attempt: number; offset: number; text: string; resets: number }>;
  connections: number;
}

/** A client as docs/streaming.md says it should be. @param jobs null: all. Ends when `enough` says so */
async function follow(jobs: string[] | null, enough: (heard: Heard) => boolean): Promise<Heard> {
  const heard: Heard = { events: [], words: new Map(), connections: 0 };
  while (!enough(heard)) {
    const url = proxies[heard.connections % proxies.length]?.through(millrace.url) ?? '';
    heard.connections += 1;
    const ws = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'millrace.v1', {
      headers: { authorization: `Bearer ${account.key}` },
    });
    const over = Promise.withResolvers<void>();
    ws.on('error', () => {});
    ws.on('close', () => over.resolve());
    let problem: unknown = null;
    ws.on('message', (data) => {
      try {
        take(heard, String(data), (message) =>
          ws.send(JSON.stringify({ ...message, jobs: jobs ?? 'all', deltas: jobs !== null })),
        );
        if (enough(heard)) ws.terminate();
      } catch (error) {
        problem = error;
        ws.terminate();
      }
    });
    await over.promise;
    if (problem !== null) throw problem as Error;
    await sleep(5);
  }
  return heard;
}

function take(heard: Heard, text: string, subscribe: (message: Json) => void): void {
  const message = JSON.parse(text) as Json;
  const { type, job_id, attempt, offset } = message;
  const word = () => {
    const known = heard.words.get(job_id) ?? { attempt, offset: -1, text: '', resets: 0 };
    heard.words.set(job_id, known);
    return known;
  };
  switch (type) {
    case 'hello': {
      const after = heard.events.at(-1)?.sequence ?? 'start';
      const begun = [...heard.words].filter(([, { offset: last }]) => last >= 0);
      const deltas_after = Object.fromEntries(
        begun.map(([id, { attempt: of, offset: last }]) => [id, { attempt: of, offset: last }]),
      );
      return subscribe({ type: 'subscribe', ref: 'r', after, ...(begun.length > 0 && { deltas_after }) });
    }
    case 'event': {
      const body = text.slice(text.indexOf('"event":') + 8, -1);
      const { sequence } = message.event;
      expect(sequence).toBeGreaterThan(heard.events.at(-1)?.sequence ?? 0);
      heard.events.push({ sequence, body });
      return;
    }
    case 'delta': {
      const said = word();
      if (said.offset === -1) said.attempt = attempt;
      expect([attempt, offset]).toEqual([said.attempt, said.offset + 1]);
      said.offset = offset;
      said.text += message.delta.content ?? '';
      return;
    }
    case 'delta_reset': {
      const said = word();
      expect(attempt).toBeGreaterThan(said.attempt);
      Object.assign(said, { attempt, offset: -1, text: '', resets: said.resets + 1 });
      return;
    }
    case 'reset':
    case 'error':
      throw new Error(`not expected: ${text.slice(0, 500)}`);
  }
}

it('miss nothing, repeat nothing, and keep the order of numbers', async () => {
  const EVENTS = 1 + JOBS * 2;
  const everything = Array.from({ length: 3 }, () => follow(null, ({ events }) => events.length >= EVENTS));
  const submitted = await account.post('/v1/jobs/batch', {
    jobs: Array.from({ length: JOBS }, (_, i) => {
      const fault = i < CUT_BY_THE_PROVIDER ? { fault: 'cut', times: 1 } : {};
      return chat(`Tell me of mill ${i} and of its stream`, { sim: { latency_ms: 2_000, ...fault } });
    }),
  });
  const ids = submitted.body.data.map(({ job }: Json) => job.id as string) as string[];
  const some = Array.from({ length: 3 }, () => follow(ids, ({ events }) => events.length >= JOBS * 2));
  const each = ids.map((id) => follow([id], ({ events }) => events.length >= 2));
  // Some end while they are told.
  for (const id of ids.slice(-5)) await account.post(`/v1/jobs/${id}/cancel`);
  const heard = await Promise.all([...some, ...each]);
  const jobs = new Map(
    (await Promise.all(ids.map((id) => account.ended(id)))).map((job) => [job.id as string, job as Json]),
  );
  const kept = await millrace.sql<{ sequence: string; body: string; job_id: string | null }>(
    'select sequence, body, job_id from events where account_id = $1 order by sequence',
    [account.id],
  );
  for (const { events } of await Promise.all(everything))
    expect(events.map(({ body }) => body)).toEqual(kept.map(({ body }) => body));
  for (const [i, { events, words }] of heard.entries()) {
    const own = i < some.length ? ids : [ids[i - some.length] as string];
    const ofThem = kept.filter(({ job_id }) => own.includes(job_id ?? ''));
    expect(events.map(({ body }) => body)).toEqual(ofThem.map(({ body }) => body));
    for (const id of own) {
      const job = jobs.get(id);
      expect(words.get(id)?.text ?? '', `${id} ${job.status}`).toBe(job.output?.text ?? '');
    }
  }
  const cuts = proxies.reduce((sum, proxy) => sum + proxy.cuts, 0);
  const resets = heard
    .flatMap(({ words }) => [...words.values()])
    .reduce((sum, word) => sum + word.resets, 0);
  console.log(
    `${cuts} cuts, ${resets} resets, ${heard.reduce((sum, { connections }) => sum + connections, 0)} connections`,
  );
  expect(cuts).toBeGreaterThan(100);
  expect(resets).toBeGreaterThan(0);
}, 90_000);
