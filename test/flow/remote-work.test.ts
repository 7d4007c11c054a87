// Work that a vendor does under a name of its own: the name is in our books before anybody asks by it, so that whoever
// takes the job over asks too and does not begin again.
import { request } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openEndings } from '../../src/flow/end-remote.ts';
import { replicateProvider } from '../../src/providers/replicate/index.ts';
import { simProvider } from '../../src/providers/sim/index.ts';
import { httpServer, type TestServer } from '../providers/support.ts';
import { attemptsOf, jobUntil, simCalls } from '../support/look.ts';
import { type OwnWorker, startOwnWorker } from '../support/own-worker.ts';
import { sellReplicate } from '../support/remote-model.ts';
import { type FakeReplicate, startReplicate } from '../support/replicate.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
let between: TestServer;
let worker: OwnWorker;
/** At each poll, as it arrived and before it was answered: whether the books knew the work's name. */
const polls: { id: string; known: boolean }[] = [];

beforeAll(async () => {
  millrace = await startPlatform({ worker: false, env: { SWEEP_MS: '100' } });
  account = await millrace.account();
  between = await httpServer(async (incoming, outgoing) => {
    const id = /^\/v1\/remote\/([\w-]+)$/.exec(incoming.url ?? '')?.[1];
    if (id !== undefined) {
      const rows = await millrace.sql('select 1 from attempts where remote_id = $1', [id]);
      polls.push({ id, known: rows.length === 1 });
    }
    const { host: _, connection: __, ...headers } = incoming.headers;
    const answer = await request(millrace.env.SIM_URL! + incoming.url, {
      method: incoming.method as 'GET',
      headers: headers as Record<string, string>,
      body: incoming.method === 'GET' ? null : incoming,
    });
    outgoing.writeHead(answer.statusCode, answer.headers as Record<string, string>);
    answer.body.pipe(outgoing);
  });
  const url = new URL(between.baseUrl).origin;
  worker = await startOwnWorker(millrace.platform, simProvider({ url }));
});
afterAll(async () => {
  await worker.drain(0);
  await between.close();
  await millrace.stop();
});

interface Bench {
  vendor: FakeReplicate;
  client: TestAccount;
  /** An image of a model that this vendor alone makes. */
  image: Record<string, unknown>;
}

/** A server of Replicate's dialect, and a worker that polls fast. */
async function replicate(name: string): Promise<Bench> {
  const vendor = await startReplicate();
  const model = `mill/${name}`;
  await sellReplicate(millrace.admin, vendor, { model, kind: 'image' });
  await worker.drain(0);
  worker = await pollFast();
  const client = await millrace.account({ plan: 'scale' });
  return { vendor, client, image: { model, input: { prompt: 'a mill', size: '64x64' } } };
}
const pollFast = (): Promise<OwnWorker> =>
  startOwnWorker(millrace.platform, replicateProvider({ pace: { firstMs: 20, mostMs: 50 } }));

const slow = {
  model: 'sim/image',
  input: { prompt: 'a mill', size: '64x64', sim: { fault: 'async', latency_ms: 1_500 } },
};

it('is known by its name before the first poll', async () => {
  const job = await account.run(slow);
  expect(job).toMatchObject({ status: 'succeeded', attempt: 1, cost: { credits: 500 } });
  expect(polls.length).toBeGreaterThan(2);
  expect(polls.every(({ known }) => known)).toBe(true);
});

it('is asked for by whoever takes the job over, and charged once', async () => {
  const { id } = await account.submit(slow);
  while ((await attemptsOf(millrace, id))[0]?.remote_id == null)
    await account.get(`/v1/jobs/${id}?wait=0.05`);
  await worker.drain(0);
  worker = await startOwnWorker(millrace.platform, simProvider({ url: millrace.env.SIM_URL! }));
  const job = await account.ended(id);
  expect(job).toMatchObject({ status: 'succeeded', attempt: 2, cost: { credits: 500 } });
  expect(await simCalls(id)).toMatchObject([{ attempt: 1, outcome: 'accepted', billed: true }]);
  expect((await attemptsOf(millrace, id)).map(({ outcome }) => outcome)).toEqual([
    'interrupted',
    'succeeded',
  ]);
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

it('is stopped by whoever took the job over, for nothing', async () => {
  const { id } = await account.submit({
    ...slow,
    input: { ...slow.input, sim: { fault: 'async', latency_ms: 60_000 } },
  });
  const named = async () => (await attemptsOf(millrace, id))[0]?.remote_id ?? null;
  while ((await named()) === null) await account.get(`/v1/jobs/${id}?wait=0.05`);
  await worker.drain(0);
  worker = await startOwnWorker(millrace.platform, simProvider({ url: millrace.env.SIM_URL! }));
  await jobUntil(account, id, ({ status, attempt }) => status === 'running' && attempt === 2);
  await account.post(`/v1/jobs/${id}/cancel`);
  expect(await account.ended(id)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
  const work = await (await request(`${millrace.env.SIM_URL!}/v1/remote/${await named()}`)).body.json();
  expect(work).toMatchObject({ status: 'canceled' });
});

it('that failed while nobody polled is begun anew, once, by whoever took the job over', async () => {
  const { vendor, client, image } = await replicate('failing');
  vendor.plan({ workMs: 600_000 });
  const { id } = await client.submit(image);
  while ((await attemptsOf(millrace, id))[0]?.remote_id == null) await client.get(`/v1/jobs/${id}?wait=0.05`);
  await worker.drain(0);
  vendor.works.get(vendor.submits[0]!.id!)!.status = 'failed';
  worker = await pollFast();
  expect(await client.ended(id)).toMatchObject({ status: 'succeeded', cost: { credits: 500 } });
  expect(vendor.submits).toHaveLength(2);
  await vendor.close();
});

it('whose result could not be stored is asked for again, and not done again', async () => {
  const { vendor, client, image } = await replicate('kept');
  vendor.plan({ workMs: 600_000 });
  const { id } = await client.submit(image);
  while ((await attemptsOf(millrace, id))[0]?.remote_id == null) await client.get(`/v1/jobs/${id}?wait=0.05`);
  await worker.drain(0);
  // As after ten minutes without a storage, which are too long for a test.
  await millrace.sql(
    `update attempts set outcome = 'failed', error_code = 'storage_unavailable' where job_id = $1`,
    [id],
  );
  vendor.works.get(vendor.submits[0]!.id!)!.status = 'succeeded';
  worker = await pollFast();
  expect(await client.ended(id)).toMatchObject({ status: 'succeeded', attempt: 2, cost: { credits: 500 } });
  expect(vendor.submits).toHaveLength(1);
  await vendor.close();
});

it('of a chat whose vendor is not known here is left to itself, and nobody falls over it', async () => {
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  const provider = (): never => {
    throw new Error('no such provider');
  };
  const warned = Promise.withResolvers<unknown>();
  const log = Object.assign(Object.create(ctx.log) as typeof ctx.log, { warn: warned.resolve });
  const endings = openEndings({ ...ctx, log }, { announcer, settle: async () => true, provider });
  const [routeId = ''] = ctx.catalogue().routes.keys();
  const named = { attempt: 1, remoteId: 'work', routeId };
  const orphan = {
    accountId: 'acc_x',
    jobId: 'job_x',
    epoch: 1,
    kind: 'chat',
    model: 'sim/chat',
    routeId,
  } as const;
  const input = {
    inputJson: '{}',
    inputKey: null,
    boundsJson: '{}',
    remainingMs: 1_000,
    cancelRequested: true,
  };
  expect(endings.take({ ...orphan, ...input, earlier: [named] })).toBe(false);
  expect(await warned.promise).toMatchObject({ job: 'job_x' });
  await endings.leave();
});
