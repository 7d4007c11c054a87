// Nothing that a client or a vendor wrote, and no secret, is ever logged: not at the finest level, not when all goes wrong.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { makeAccount, type TestAccount } from '../support/accounts.ts';
import { type Client, chat, openClient } from '../support/client.ts';
import { install, type Installation } from '../support/platform.ts';
import { openSocket } from '../support/socket.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';

/** Words that must not be found, by where they were put. */
const SECRET = {
  prompt: 'kanarienvogel-prompt-3f1',
  output: 'kanarienvogel-output-7c2',
  metadata: 'kanarienvogel-metadata-9d3',
  endUser: 'kanarienvogel-enduser-1b4',
  idempotency: 'kanarienvogel-idempotency-5e5',
  providerKey: 'kanarienvogel-provider-key-2a6',
  file: 'kanarienvogel-file-8f7',
  fileName: 'kanarienvogel-filename-4d8',
  query: 'kanarienvogel-query-6c9',
  header: 'kanarienvogel-header-0ba',
};

let installation: Installation;
let api: Role;
let worker: Role;
let vendor: Vendor;
let admin: Client;
let account: TestAccount;
const secrets: Record<string, string> = { ...SECRET };

beforeAll(async () => {
  installation = await install('redis', { LOG_LEVEL: 'trace', SWEEP_MS: '200' });
  api = await spawnApi(installation, { LOG_LEVEL: 'trace' });
  const credentials = await readCredentials(readConfig(installation.env));
  admin = openClient(api.url, credentials?.admin_key ?? '');
  account = await makeAccount(api.url, admin, { overrides: { slots: 50 } });
  Object.assign(secrets, {
    admin: credentials?.admin_key,
    first: credentials?.api_key,
    key: account.key,
    test: account.testKey,
  });
  vendor = await startVendor();
  await sell('vendor/chat', vendor.url);
});
afterAll(async () => {
  await Promise.all([api?.drain(), worker?.drain(), vendor?.close()]);
  await installation?.remove();
});

interface Vendor {
  url: string;
  close(): Promise<void>;
}

/** A vendor that repeats all it was sent, whichever way it fails; the prompt says which. */
async function startVendor(): Promise<Vendor> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const said = Buffer.concat(chunks).toString();
    const echo = `${request.headers.authorization} ${said} ${SECRET.output}`;
    const mode = /mode=(\w+)/.exec(said)?.[1] ?? '';
    const json = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': SECRET.output });
      response.end(JSON.stringify(body));
    };
    const completion = {
      choices: [{ index: 0, message: { role: 'assistant', content: SECRET.output }, finish_reason: 'stop' }],
    };
    switch (mode) {
      case 'good':
        return json(200, { ...completion, usage: { prompt_tokens: 3, completion_tokens: 3 } });
      case 'refused':
        return json(400, { error: { message: echo, type: SECRET.output, code: echo } });
      case 'policy':
        return json(400, { error: { message: echo, code: 'content_policy_violation' } });
      case 'unauthorized':
        return json(401, { error: { message: `Incorrect API key provided: ${SECRET.providerKey}` } });
      case 'broken':
        return json(500, echo);
      case 'malformed':
        response.writeHead(200, { 'content-type': 'application/json' });
        return void response.end(`{"choices": ${echo}`);
      case 'redirect':
        response.writeHead(302, { location: `http://127.0.0.1:1/?key=${SECRET.providerKey}` });
        return void response.end(echo);
      case 'cut':
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(
          `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: SECRET.output } }] })}\n\n`,
        );
        return void setImmediate(() => request.socket.destroy());
      default:
        request.socket.destroy();
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function sell(model: string, url: string): Promise<void> {
  const lines = ['input', 'output'].map((measure) => ({
    name: 'token',
    measure,
    credits_per_million: '1000000',
  }));
  const route = { model, provider: 'openai', base_url: url, api_key: SECRET.providerKey };
  for (const [method, path, body] of [
    ['PUT', `/v1/admin/models/${model}`, { kind: 'chat' }],
    ['POST', '/v1/admin/prices', { model, lines }],
    ['POST', '/v1/admin/routes', route],
  ] as const)
    expect((await admin.send(method, path, { body })).status).toBeLessThan(300);
}

const marks = { metadata: { [SECRET.metadata]: SECRET.metadata }, end_user: SECRET.endUser };
const submission = (rest: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...chat(SECRET.prompt, rest),
  ...marks,
});
let keys = 0;
const headers = () => ({
  'idempotency-key': `${SECRET.idempotency}-${keys++}`,
  'x-client-request-id': SECRET.header,
});

describe('before anybody works', () => {
  it('the queue holds ids, and not a word', async () => {
    const jobs = [submission(), { model: 'sim/image', input: { prompt: SECRET.prompt }, ...marks }];
    for (const job of jobs) await account.submit(job, headers());
    const redis = new Redis(installation.env['REDIS_URL'] ?? '');
    const held = async (): Promise<string> => {
      const texts = await Promise.all(
        (await redis.keys('*')).map(async (key) => `${key} ${await contentOf(redis, key)}`),
      );
      return texts.join('\n');
    };
    await expect.poll(held, { timeout: 10_000 }).toContain(account.id);
    const text = await held();
    await redis.quit();
    expectNoSecrets(text, 'the queue');
  });

  async function contentOf(redis: Redis, key: string): Promise<string> {
    switch (await redis.type(key)) {
      case 'hash':
        return JSON.stringify(await redis.hgetall(key));
      case 'list':
        return JSON.stringify(await redis.lrange(key, 0, -1));
      case 'zset':
        return JSON.stringify(await redis.zrange(key, '0', '-1'));
      case 'stream':
        return JSON.stringify(await redis.xrange(key, '-', '+'));
      default:
        return String(await redis.get(key).catch(() => ''));
    }
  }
});

describe('the logs of API and worker at the finest level', () => {
  it('know nothing of what passed, however it ended', async () => {
    worker = await spawnWorker(installation, { env: { LOG_LEVEL: 'trace' } });
    await everythingGoesRight();
    await everythingGoesWrong();
    await everythingIsRefused();
    await theDatabaseComplains();
    for (const [name, { log }] of [
      ['API', api],
      ['worker', worker],
    ] as const) {
      expect(log.length, name).toBeGreaterThan(0);
      expectNoSecrets(log.join('\n'), `the log of the ${name}`);
    }
    // They were not simply silent: what went wrong on our side is there, by its id.
    expect(api.log.join('\n')).toMatch(/"msg":"a request failed"/);
    expect(worker.log.join('\n')).toMatch(/"msg":"an outcome cannot be written"/);
  }, 90_000);

  async function everythingGoesRight(): Promise<void> {
    const { id } = await account.submit(submission(), headers());
    expect((await account.ended(id)).output.text).toContain(SECRET.prompt);
    await account.get(`/v1/jobs/${id}/explain`);
    await account.events(`/v1/jobs/${id}/events`);
    await account.get(`/v1/jobs?metadata[${SECRET.metadata}]=${SECRET.metadata}`);
    await account.get(`/v1/jobs?idempotency_key=${SECRET.idempotency}-0`);
    const good = await account.run({
      ...submission(),
      model: 'vendor/chat',
      input: { messages: [{ role: 'user', content: `mode=good ${SECRET.prompt}` }] },
    });
    expect(good.output.text).toBe(SECRET.output);
    const spoken = await account.run({ model: 'sim/tts', input: { input: SECRET.prompt }, ...marks });
    const heard = await account.run({
      model: 'sim/stt',
      input: { artifact: spoken.output.audio.artifact_id },
    });
    expect(heard.output.text).toBe(SECRET.prompt);
    const form = new FormData();
    form.append('file', new Blob([SECRET.file]), SECRET.fileName);
    const uploaded = await fetch(`${api.url}/v1/artifacts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}` },
      body: form,
    });
    const artifact = (await uploaded.json()) as { id: string };
    const { body: link } = await account.post(`/v1/artifacts/${artifact.id}/links`, { expires_in_s: 900 });
    secrets['signature'] = new URL(link.url).searchParams.get('signature') as string;
    expect(await (await fetch(link.url)).text()).toBe(SECRET.file);
    const { body: made } = await account.post('/v1/tickets', { jobs: 'all' });
    secrets['ticket'] = made.ticket as string;
    const socket = await openSocket(api.url, { ticket: made.ticket });
    await socket.ask({
      type: 'submit',
      job: submission(),
      idempotency_key: `${SECRET.idempotency}-ws`,
      subscribe: true,
    });
    await socket.until(({ event }) => event?.type === 'job.succeeded');
    await socket.ask({ type: 'submit', job: { ...submission(), [SECRET.prompt]: 1 } });
    socket.say(SECRET.prompt);
    await socket.until(({ error }) => error?.code === 'invalid_json');
    await socket.close();
    // Spent, at a place where it might be taken for anything.
    for (const path of ['/v1/ws', '/v1/events', '/v1/models', '/v1/none', '/v1/artifacts/x/content'])
      await fetch(`${api.url}${path}?ticket=${made.ticket}`);
  }

  async function everythingGoesWrong(): Promise<void> {
    const modes = ['refused', 'policy', 'unauthorized', 'broken', 'malformed', 'redirect', 'cut', 'gone'];
    const faults = ['429', '500', 'cut', 'malformed', 'wrong-usage', 'refusal', 'billed-then-lost'];
    const jobs = [
      ...modes.map((mode) => ({
        ...submission(),
        model: 'vendor/chat',
        input: { messages: [{ role: 'user', content: `mode=${mode} ${SECRET.prompt}` }] },
      })),
      ...faults.map((fault) => submission({ sim: { fault, times: 1 } })),
      { ...submission({ sim: { fault: 'hang' } }), expires_in: 1 },
    ];
    const { body } = await account.post('/v1/jobs/batch', { jobs }, headers());
    const ids = body.data.map((item: { job: { id: string } }) => item.job.id) as string[];
    const ended = await Promise.all(ids.map((id) => account.ended(id)));
    expect(ended.slice(0, modes.length).map(({ status }) => status)).toEqual(modes.map(() => 'failed'));
    // What clients are told of it quotes neither key nor prompt.
    for (const job of ended)
      expectNoSecrets(JSON.stringify(job.error), 'an error', ['prompt', 'providerKey']);
    for (const id of ids) {
      const { body } = await account.get(`/v1/jobs/${id}/explain`);
      expectNoSecrets(JSON.stringify(body.attempts), 'the evidence', ['prompt', 'providerKey']);
    }
    const hanging = await account.submit(submission({ sim: { fault: 'hang' } }), headers());
    await account.post(`/v1/jobs/${hanging.id}/cancel`);
    await account.ended(hanging.id);
  }

  async function everythingIsRefused(): Promise<void> {
    const json = { 'content-type': 'application/json', ...headers() };
    const bodies = [
      `{"model":"${SECRET.prompt}\\u0000"}`,
      `{"${SECRET.prompt}":1e999}`,
      `{"input":"${SECRET.prompt}`,
      JSON.stringify({ ...submission(), [SECRET.prompt]: 1 }),
    ];
    for (const body of bodies) expect((await account.post('/v1/jobs', body, json)).status).toBe(400);
    await account.post('/v1/jobs', submission({ sim: { fault: SECRET.prompt } }), headers());
    await account.post('/v1/jobs', { ...submission(), model: SECRET.prompt }, headers());
    await account.post('/v1/jobs', SECRET.prompt, { 'content-type': 'text/plain' });
    await account.post('/v1/jobs', submission(), { 'idempotency-key': `${SECRET.idempotency}é` });
    await account.get(`/v1/jobs?after=${SECRET.query}`);
    await account.get(`/v1/jobs/%zz?x=${SECRET.query}`);
    await account.get(`/${SECRET.query}`);
    await openClient(api.url, `mr_live_${SECRET.header}`).get('/v1/account');
    await openClient(api.url, account.key.slice(0, -1)).get('/v1/account');
    secrets['almost'] = account.key.slice(0, -1);
    await account.post(
      '/v1/artifacts',
      `--x\r\ncontent-disposition: form-data; name="${SECRET.fileName}"; filename="${SECRET.fileName}"\r\n\r\n${SECRET.file}`,
      { 'content-type': 'multipart/form-data; boundary=x' },
    );
    await brokenOff(
      `GET /${SECRET.query} HTTP/1.1\r\nauthorization: Bearer ${account.key}\r\nx: a\0b\r\n\r\n`,
    );
    await brokenOff(`NONSENSE ${SECRET.query}\r\n\r\n`);
    await brokenOff(
      `GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${account.key}\r\nx: ${SECRET.header.repeat(2_000)}\r\n\r\n`,
    );
  }

  /** Says something that is no HTTP, and hears the server out. */
  async function brokenOff(said: string): Promise<void> {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.resume();
    socket.write(said);
    await once(socket, 'close');
  }

  /** PostgreSQL names the whole row in what it says of a constraint. */
  async function theDatabaseComplains(): Promise<void> {
    const { sql } = installation;
    await sql(`alter table jobs add constraint no_such_user check (end_user <> 'forbidden') not valid`);
    const refused = await account.post('/v1/jobs', { ...submission(), end_user: 'forbidden' }, headers());
    expect(refused.status).toBe(500);
    expectNoSecrets(JSON.stringify(refused.body), 'the answer');
    await sql(
      `alter table jobs add constraint no_such_output check (position('forbidden' in output) = 0) not valid`,
    );
    const job = await account.submit(
      submission({ messages: [{ role: 'user', content: `forbidden ${SECRET.prompt}` }] }),
      headers(),
    );
    await expect
      .poll(() => worker.log.join('\n'), { timeout: 20_000 })
      .toContain('an outcome cannot be written');
    await account.ended(job.id);
    await sql('alter table jobs drop constraint no_such_user, drop constraint no_such_output');
    // Sessions are cut in the middle of it.
    await sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'millrace' and datname = current_database()`,
    );
    await expect.poll(async () => (await account.get('/v1/account')).status, { timeout: 20_000 }).toBe(200);
  }
});

/** Neither as they are, nor as the bytes of a Buffer that somebody logged. */
function expectNoSecrets(text: string, where: string, names: string[] = Object.keys(secrets)): void {
  for (const name of names) {
    const secret = secrets[name] as string;
    const bytes = [...Buffer.from(secret)].join(',');
    for (const form of [
      secret,
      bytes,
      Buffer.from(secret).toString('base64').replace(/=+$/, ''),
      encodeURIComponent(secret),
    ]) {
      const at = text.indexOf(form);
      expect(at < 0 ? '' : text.slice(Math.max(0, at - 200), at + 100), `${where} has the ${name}`).toBe('');
    }
  }
}
