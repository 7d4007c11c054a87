// Two accounts: nothing of the one is ever seen, touched or even confirmed by the other.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import { type Answer, chat, openClient } from '../support/client.ts';
import { fill, isAdmin, type Operation, operationsOf, readDocument } from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { delivery, makeEndpoint } from '../support/webhooks.ts';
import { CANARY, expectRefusal, leavesNothing } from '../support/refusal.ts';

let millrace: TestPlatform;
let receiver: Receiver;
/** Owns everything that could be seen; and who should see none of it. */
let owner: TestAccount;
let stranger: TestAccount;
let own: Belongings;
let operations: Operation[];

interface Belongings {
  ended: string;
  running: string;
  input: string;
  output: string;
  /** Of each prefix that ids have, one of the owner's. */
  ids: Record<string, string>;
}

beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
  owner = await millrace.account();
  stranger = await millrace.account();
  operations = operationsOf(await readDocument(owner));
  own = await furnish();
});
afterAll(async () => {
  await millrace.stop();
  await receiver.close();
});

/** A bit of everything, each with the canary in it wherever a client may put words. */
async function furnish(): Promise<Belongings> {
  const marks = { metadata: { [CANARY]: CANARY, shared: 'same' }, end_user: CANARY };
  const headers = { 'idempotency-key': CANARY, 'x-client-request-id': CANARY };
  const endpoint = await makeEndpoint(owner, receiver.url(`/${CANARY}`), { description: CANARY });
  const { id: said } = await owner.submit({ ...chat(CANARY), ...marks }, headers);
  await owner.ended(said);
  const drawn = await owner.run({ model: 'sim/image', input: { prompt: CANARY }, ...marks });
  const spoken = await owner.run({ model: 'sim/tts', input: { input: CANARY }, ...marks });
  const running = await owner.submit({ ...chat(CANARY, { sim: { fault: 'hang' } }), ...marks });
  const uploaded = await upload(owner, CANARY);
  const { body: me } = await owner.get('/v1/account');
  const { body: events } = await owner.get('/v1/events', { accept: 'application/json' });
  const { body: moved } = await owner.get('/v1/transactions');
  const delivered = await delivery(owner, endpoint.id, ({ status }) => status === 'delivered');
  const output = drawn.output.images[0].artifact_id;
  return {
    ended: said,
    running: running.id,
    input: uploaded,
    output,
    ids: {
      acc: owner.id,
      job: drawn.id,
      art: spoken.output.audio.artifact_id,
      key: drawn.key_id,
      lot: me.balance.lots[0].id,
      ev: events.data[0].id,
      tx: moved.data[0].id,
      whe: endpoint.id,
      dlv: delivered.id,
    },
  };
}

async function upload({ key }: TestAccount, content: string): Promise<string> {
  const form = new FormData();
  form.append('file', new Blob([content]), `${content}.txt`);
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${millrace.url}/v1/artifacts`, { method: 'POST', headers, body: form });
  return ((await response.json()) as { id: string }).id;
}

const named = ({ method, path }: Operation): string => `${method} ${path}`;
/** The operations on one thing of an account. */
const onThings = (): Operation[] =>
  // What is open to all is nobody's.
  operations.filter((operation) => !isAdmin(operation) && !operation.open && operation.path.includes('{'));
const bodyFor = ({ method, path }: Operation): { body?: object } => {
  if (path.endsWith('/links')) return { body: { expires_in_s: 900 } };
  if (path.startsWith('/v1/webhook-endpoints/') && path.endsWith('/redeliver'))
    return { body: { after: '2026-11-20T00:00:00Z' } };
  return method === 'PATCH' ? { body: { description: 'another' } } : {};
};

function expectNothing(answer: Answer, what: string): void {
  expect(JSON.stringify([answer.body, answer.headers]), what).not.toContain(CANARY);
  expect(answer.headers['x-inference-id'], what).toBeUndefined();
  expect(answer.headers['etag'], what).toBeUndefined();
}

describe("another account's ids", () => {
  it('are unknown to every route that takes an id', async () => {
    expect(onThings().length).toBeGreaterThanOrEqual(8);
    await leavesNothing(millrace, async () => {
      for (const operation of onThings()) {
        for (const id of [own.ended, own.running, own.input, own.output, ...Object.values(own.ids)]) {
          const path = fill(operation, () => id);
          const answer = await stranger.send(operation.method, path, bodyFor(operation));
          expect(answer.status, `${named(operation)} ${id}`).toBe(404);
          expectRefusal(answer, 'not_found');
          expectNothing(answer, `${named(operation)} ${id}`);
          // Not to be told from an id that nobody has.
          const nobodys = fill(operation, () => newId(path.includes('/jobs/') ? 'job' : 'art'));
          const nothing = await stranger.send(operation.method, nobodys, bodyFor(operation));
          const { message, details } = answer.body;
          expect({ message, details }).toEqual({
            message: nothing.body.message,
            details: nothing.body.details,
          });
        }
      }
    });
    const { body } = await owner.get(`/v1/jobs/${own.running}`);
    expect(body).toMatchObject({ cancel_requested_at: null, ended_at: null });
  });

  it('are unknown to its own test key, and to those of the other', async () => {
    for (const key of [owner.testKey, stranger.testKey]) {
      const test = openClient(millrace.url, key);
      for (const path of [`/v1/jobs/${own.ended}`, `/v1/artifacts/${own.input}`]) {
        const answer = await test.get(path);
        expectRefusal(answer, 'not_found');
        expectNothing(answer, path);
      }
      for (const path of ['/v1/jobs', '/v1/artifacts']) expect((await test.get(path)).body.data).toEqual([]);
    }
  });

  it('are no input of a job', async () => {
    await leavesNothing(millrace, async () => {
      for (const id of [own.ids['art'], own.input, own.output]) {
        const answer = await stranger.post('/v1/jobs', { model: 'sim/stt', input: { artifact: id } });
        expectRefusal(answer, 'not_found');
      }
    });
    expect(
      (await owner.post('/v1/jobs?dry_run=true', { model: 'sim/stt', input: { artifact: own.ids['art'] } }))
        .status,
    ).toBe(200);
  });

  it("are no place to begin in a list of one's own", async () => {
    const mine = await stranger.submit(chat('mine'));
    for (const question of [
      `after=${own.ended}&order=asc`,
      `before=${own.running}&order=asc`,
      `key_id=${own.ids['key']}`,
    ]) {
      const { status, body } = await stranger.get(`/v1/jobs?${question}`);
      expect(status).toBe(200);
      for (const job of body.data) expect(job.id).toBe(mine.id);
    }
    for (const question of [
      `idempotency_key=${CANARY}`,
      `metadata[${CANARY}]=${CANARY}`,
      'metadata[shared]=same',
    ])
      expect((await stranger.get(`/v1/jobs?${question}`)).body.data).toEqual([]);
    expect((await owner.get('/v1/jobs?metadata[shared]=same')).body.data).toHaveLength(4);
    await stranger.ended(mine.id);
  });

  it('and its idempotency keys are its own', async () => {
    const same = { ...chat(CANARY), metadata: { [CANARY]: CANARY, shared: 'same' }, end_user: CANARY };
    const mine = await stranger.post('/v1/jobs', same, { 'idempotency-key': CANARY });
    expect(mine.status).toBe(202);
    expect(mine.headers['idempotent-replayed']).toBeUndefined();
    expect(mine.body.id).not.toBe(own.ended);
    const replay = await owner.post('/v1/jobs', same, { 'idempotency-key': CANARY });
    expect([replay.headers['idempotent-replayed'], replay.body.id]).toEqual(['true', own.ended]);
    await stranger.ended(mine.body.id);
    await millrace.sql('update jobs set idempotency_key = null where account_id = $1', [stranger.id]);
  });
});

describe('lists, streams and sums', () => {
  let newcomer: TestAccount;
  beforeAll(async () => {
    newcomer = await millrace.account({ credits: 5_000_000 });
  });

  it('of every route that takes no id show nothing of another account', async () => {
    const routes = operations.filter(
      ({ method, path, ...rest }) =>
        method === 'GET' && !path.includes('{') && !isAdmin({ method, path, ...rest }),
    );
    expect(routes.length).toBeGreaterThanOrEqual(8);
    for (const { path } of routes) {
      const answer = await newcomer.get(path, { accept: 'application/json' });
      // A WebSocket's own tests look at what it shows.
      expect(answer.status, path).toBe(path === '/v1/ws' ? 400 : 200);
      const text = JSON.stringify(answer.body);
      expect(text, path).not.toContain(CANARY);
      for (const id of [owner.id, own.ended, own.running, own.input, own.output, ...Object.values(own.ids)])
        expect(text, path).not.toContain(id);
    }
    expect((await newcomer.get('/v1/jobs')).body.data).toEqual([]);
    expect((await newcomer.get('/v1/artifacts')).body.data).toEqual([]);
    expect((await newcomer.get('/v1/transactions')).body.data).toHaveLength(1);
    expect((await newcomer.get('/v1/account')).body).toMatchObject({
      id: newcomer.id,
      balance: { available: { credits: 5_000_000 }, held: { credits: 0 } },
    });
  });

  it('that are live tell of nothing of another account', async () => {
    const heard: string[] = [];
    const mine = newcomer.events('/v1/events', {
      until: ({ event, data }) => {
        heard.push(data);
        return event === 'job.succeeded';
      },
    });
    const { id } = await owner.submit(chat(CANARY));
    await owner.ended(id);
    const job = await newcomer.submit(chat('quiet'));
    await mine;
    expect(heard.length).toBeGreaterThanOrEqual(3);
    for (const data of heard) {
      expect(data).not.toContain(CANARY);
      expect(JSON.parse(data).account_id).toBe(newcomer.id);
    }
    expect(heard.join()).toContain(job.id);
  });

  it('of one job go on for its owner alone', async () => {
    const events = await owner.events(`/v1/jobs/${own.ended}/events`);
    expect(events.map(({ event }) => event)).toContain('job.succeeded');
    expect(JSON.stringify(events)).toContain(CANARY);
  });
});

describe('links', () => {
  it('open the one thing they were made for, for as long as they were made for', async () => {
    const nobody = openClient(millrace.url, null);
    const { body: link } = await owner.post(`/v1/artifacts/${own.input}/links`, { expires_in_s: 900 });
    const url = new URL(link.url);
    const get = (change: (url: URL) => void): Promise<Answer> => {
      const changed = new URL(url);
      change(changed);
      return nobody.get(changed.pathname + changed.search);
    };
    expect((await get(() => {})).body).toBe(CANARY);
    const later = String(Number(url.searchParams.get('expires')) + 1);
    const signature = url.searchParams.get('signature') ?? '';
    const changes: ((url: URL) => void)[] = [
      (link) => (link.pathname = link.pathname.replace(own.input, own.output)),
      (link) => link.searchParams.set('expires', later),
      (link) => link.searchParams.set('signature', signature.slice(0, -1)),
      (link) => link.searchParams.set('signature', `${signature}x`),
      (link) => link.searchParams.set('signature', signature.toLowerCase()),
      (link) => link.searchParams.set('signature', ''),
    ];
    for (const change of changes) {
      const answer = await get(change);
      expectRefusal(answer, 'not_found');
      expectNothing(answer, String(change));
    }
    for (const name of ['expires', 'signature']) {
      const answer = await get((link) => link.searchParams.delete(name));
      expectRefusal(answer, 'api_key_missing');
    }
    // A stranger's key adds nothing to a link that is wrong, and takes nothing from one that is right.
    expectRefusal(
      await stranger.get(`/v1/artifacts/${own.input}/content?expires=${later}&signature=x`),
      'not_found',
    );
    expect((await stranger.get(url.pathname + url.search)).status).toBe(200);
  });

  it('may be shown by the pages of others, and only as what they are', async () => {
    const { body: link } = await owner.post(`/v1/artifacts/${own.output}/links`, { expires_in_s: 900 });
    const { headers } = await openClient(millrace.url, null).get(link.url.slice(millrace.url.length));
    expect(headers).toMatchObject({
      'content-type': 'image/png',
      'cross-origin-resource-policy': 'cross-origin',
      'x-content-type-options': 'nosniff',
      'content-disposition': `attachment; filename="${own.output}"`,
      'content-security-policy': expect.stringContaining("default-src 'none'"),
    });
  });
});

const idFor = (path: string): string => {
  if (path.includes('/jobs/')) return path.endsWith('/cancel') ? own.running : own.ended;
  if (path.startsWith('/v1/webhook-endpoints')) return own.ids['whe'] as string;
  return path.startsWith('/v1/deliveries') ? (own.ids['dlv'] as string) : own.input;
};

describe('the owner', () => {
  it('is served by every route that refused the other', async () => {
    const seen: string[] = [];
    // What deletes comes last.
    const things = onThings().toSorted(
      (a, b) => Number(a.method === 'DELETE') - Number(b.method === 'DELETE'),
    );
    for (const operation of things) {
      const { method, path } = operation;
      const id = idFor(path);
      const answer = await owner.send(
        method,
        fill(operation, () => id),
        bodyFor(operation),
      );
      expect(answer.status, named(operation)).toBeGreaterThanOrEqual(200);
      expect(answer.status, named(operation)).toBeLessThan(300);
      seen.push(named(operation));
      // The last word on an artifact comes last.
      if (method === 'DELETE' && path.startsWith('/v1/artifacts')) own.input = await upload(owner, CANARY);
    }
    expect(seen).toHaveLength(onThings().length);
    await owner.ended(own.running);
  });
});
