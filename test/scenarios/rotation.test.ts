// MILLRACE_SECRET_KEY is replaced on a platform that runs, role by role, in the steps of docs/deploying.md: at each of them
// vendors are called with their keys, repeats are answered and links lead to their bytes.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { type KeyRing, keyName, readKeyRing } from '../../src/domain/key-ring.ts';
import { openSeal, seal } from '../../src/flow/seal.ts';
import { readCredentials } from '../../src/platform.ts';
import { SEALED_PLACES } from '../../src/store/sealed.ts';
import { chat, type Client, openClient } from '../support/client.ts';
import { type Command, runNode } from '../support/command.ts';
import { install, type Installation } from '../support/platform.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const [OLD, NEW] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
const ring = (text: string) => readKeyRing(text) as KeyRing;
const [oldId, newId] = [keyName(ring(OLD)[0]), keyName(ring(NEW)[0])];
const ENDPOINT = 'whe_01k9s7v3m8e6q0x4t2b5n7r9ca';
const PATIENT = { 'idempotency-key': 'rotation' };
const FORM = '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n';

let installation: Installation;
let vendor: Server;
let api: Role;
let worker: Role;
let admin: Client;
let client: Client;
/** Of an artifact, without the API's root. */
let link: string;
let accountId: string;

/** Both roles anew, one after the other, as a rolling restart does. */
async function restart(keys: string): Promise<void> {
  const env = { MILLRACE_SECRET_KEY: keys };
  const [formerApi, formerWorker] = [api, worker] as [Role | undefined, Role | undefined];
  api = await spawnApi(installation, env);
  await formerApi?.drain();
  worker = await spawnWorker(installation, { env });
  await formerWorker?.drain();
  const credentials = await readCredentials(readConfig(installation.env));
  admin = openClient(api.url, credentials?.admin_key ?? '');
  client = openClient(api.url, credentials?.api_key ?? '');
}

const command = (file: string, keys: string, ...args: string[]): Command =>
  runNode([file, ...args], { env: { ...installation.env, MILLRACE_SECRET_KEY: keys } });
async function refused(file: string, keys: string): Promise<string> {
  const started = command(file, keys);
  expect(await started.ended).toBe(1);
  return started.err.filter((line) => line.startsWith('millrace: ')).join('\n');
}
const makeAccount = () => admin.post('/v1/admin/accounts', { name: 'repeated', credits: 5_000 }, PATIENT);
async function makeLink(): Promise<string> {
  const { body } = await client.post('/v1/artifacts', FORM, {
    'content-type': 'multipart/form-data; boundary=x',
  });
  const made = await client.post(`/v1/artifacts/${body.id}/links`, { expires_in_s: 3_600 });
  return (made.body.url as string).slice(api.url.length);
}

/** Everything that is sealed serves its purpose. */
async function expectServed(): Promise<void> {
  const job = await client.run({ ...chat(), model: 'keyed/chat' });
  expect(job).toMatchObject({ status: 'succeeded', output: { text: 'the key was right' } });
  const again = await makeAccount();
  expect(again.headers['idempotent-replayed']).toBe('true');
  expect(again.body.id).toBe(accountId);
}
const linked = async (path: string) => (await fetch(api.url + path)).status;

beforeAll(async () => {
  vendor = createServer((request, response) => {
    request.resume();
    const right = request.headers.authorization === 'Bearer of-ours';
    const message = { role: 'assistant', content: 'the key was right' };
    response.writeHead(right ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(right ? { choices: [{ index: 0, message, finish_reason: 'stop' }] } : {}));
  });
  vendor.listen(0, '127.0.0.1');
  await once(vendor, 'listening');
  installation = await install('postgres');
  await restart(OLD);
  const { port } = vendor.address() as AddressInfo;
  const model = 'keyed/chat';
  const lines = ['input', 'output'].map((measure) => ({ name: 'token', measure, credits_per_million: '1' }));
  await admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind: 'chat' } });
  await admin.post('/v1/admin/prices', { model, lines });
  const base_url = `http://127.0.0.1:${port}`;
  await admin.post('/v1/admin/routes', { model, provider: 'openai', base_url, api_key: 'of-ours' });
  accountId = (await makeAccount()).body.id as string;
  link = await makeLink();
  await installation.sql(
    `insert into endpoints (id, account_id, url, events, secret) values ($1, $2, 'https://hook.example', '{}', $3)`,
    [ENDPOINT, accountId, seal(ring(OLD), `endpoint:${ENDPOINT}`, 'whsec_hush')],
  );
});
afterAll(async () => {
  await Promise.all([api.drain(), worker.drain()]);
  vendor.close();
  await installation.remove();
});

describe('a key that is replaced', () => {
  it('is not taken for another that the database has never heard of', async () => {
    expect(await refused('src/api/main.ts', NEW)).toMatch(
      new RegExp(`sealed with the key ${oldId}, and MILLRACE_SECRET_KEY names ${newId}\\. Set it to`),
    );
    await expectServed();
  });

  it('opens beside the old one, then seals in its place, and nobody misses anything', async () => {
    await restart(`${OLD},${NEW}`);
    await expectServed();
    await restart(`${NEW},${OLD}`);
    await expectServed();
    expect(await linked(link)).toBe(200);
    for (const alone of [NEW, OLD])
      expect(await refused('src/workers/main.ts', alone)).toMatch(/until npm run reseal says/);
  });

  it('is what everything is sealed with, once npm run reseal has been there', async () => {
    const dry = command('src/reseal.ts', `${NEW},${OLD}`, '--dry-run');
    expect(await dry.ended).toBe(0);
    expect(dry.out).toContain('routes.api_key             1 of 1 would be sealed anew');
    expect(dry.out.at(-1)).toBe(
      `Nothing was written. Keys that are still needed besides ${newId}: ${oldId}.`,
    );

    const done = command('src/reseal.ts', `${NEW},${OLD}`);
    expect(await done.ended).toBe(0);
    expect(done.out).toContain('routes.api_key             1 of 1 were sealed anew');
    expect(done.out).toContain('endpoints.secret           1 of 1 were sealed anew');
    expect(done.out.at(-1)).toMatch(
      new RegExp(`^Everything is sealed with the key ${newId}\\. Any other may leave`),
    );
    await expectServed();

    expect(await refused('src/api/main.ts', OLD)).toMatch(new RegExp(`sealed with the key ${newId}`));
    await restart(NEW);
    await expectServed();
    const [row] = await installation.sql<{ secret: Buffer }>('select secret from endpoints where id = $1', [
      ENDPOINT,
    ]);
    expect(openSeal(ring(NEW), `endpoint:${ENDPOINT}`, row?.secret as Buffer)).toBe('whsec_hush');
    // Which is why the old key may stay for 7 days more.
    expect(await linked(link)).toBe(404);
    expect(await linked(await makeLink())).toBe(200);
  });
});

describe('npm run reseal', () => {
  it('seals thousands in batches, names what does not open, leaves it, and ends with code 1', async () => {
    const other = randomBytes(32).toString('base64');
    const rows = Array.from({ length: 1_200 }, (_, i) => `many ${i}`);
    await installation.sql(
      `insert into operator_requests (key, request_hash, answer) select * from unnest($1::text[], $2::bytea[], $3::bytea[])`,
      [rows, rows.map(() => Buffer.alloc(0)), rows.map((key) => seal(ring(OLD), `request:${key}`, '{}'))],
    );
    // As if somebody had moved it there.
    const moved = seal(ring(OLD), 'endpoint:another', 'whsec_hush');
    await installation.sql('update endpoints set old_secret = $1, old_secret_until = now()', [moved]);
    const done = command('src/reseal.ts', `${other},${NEW},${OLD}`);
    expect(await done.ended).toBe(1);
    expect(done.out.filter((line) => line.startsWith('operator_requests'))).toHaveLength(3);
    expect(done.err).toEqual([
      `millrace: what is sealed for endpoint:${ENDPOINT} was changed, or was sealed for another`,
    ]);
    const [kept] = await installation.sql<{ old_secret: Buffer }>('select old_secret from endpoints');
    expect(kept?.old_secret).toEqual(moved);
    const [named] = await installation.sql(`select value from settings where name = 'seal_keys'`);
    expect(named).toEqual({ value: `${keyName(ring(other)[0])},${oldId}` });
    await installation.sql('update endpoints set old_secret = null, old_secret_until = null');
    expect(await command('src/reseal.ts', `${NEW},${other},${OLD}`).ended).toBe(0);
  });

  it('looks everywhere that something may be sealed', async () => {
    const columns = await installation.sql<{ place: string }>(
      `select table_name || '.' || column_name as place from information_schema.columns
        where table_schema = 'public' and data_type = 'bytea' and table_name not similar to '%[0-9]{6,8}'`,
    );
    // Hashes, and slots as bits.
    const others = /^(accounts\.busy_slots|idempotency_keys\.request_hash|operator_requests\.request_hash)$/;
    const secrets = columns
      .map(({ place }) => place)
      .filter((place) => !others.test(place) && !place.endsWith('.secret_hmac'));
    expect(secrets.toSorted()).toEqual(
      SEALED_PLACES.map(({ table, column }) => `${table}.${column}`).toSorted(),
    );
  });
});
