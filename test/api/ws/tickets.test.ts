// Tickets: what they open, how often, for how long, and what they do not.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeTickets } from '../../../src/flow/tickets.ts';
import { chat, type Client, openClient } from '../../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../../support/platform.ts';
import { expectRefusal } from '../../support/refusal.ts';
import { openSocket, refusedSocket } from '../../support/socket.ts';

let millrace: TestPlatform;
let account: TestAccount;
let nobody: Client;
beforeAll(async () => {
  millrace = await startPlatform({ env: { HEARTBEAT_MS: '100', SOCKET_HEARTBEAT_MS: '250' } });
  account = await millrace.account({ overrides: { slots: 20 } });
  nobody = openClient(millrace.url, null);
});
afterAll(() => millrace.stop());

async function ticket(jobs: string[] | 'all', expires_in_s?: number): Promise<string> {
  const { status, body } = await account.post('/v1/tickets', { jobs, ...(expires_in_s && { expires_in_s }) });
  expect(status, JSON.stringify(body)).toBe(201);
  return body.ticket;
}

const sse = (path: string, token: string) => nobody.events(`${path}?ticket=${token}`, { until: () => true });

describe('POST /v1/tickets', () => {
  it('answers a ticket and when it ends', async () => {
    const { body, headers } = await account.post('/v1/tickets', { jobs: 'all', expires_in_s: 60 });
    expect(body).toEqual({
      ticket: expect.stringMatching(/^tkt_[0-9a-z]{26}[\w-]{32}$/),
      expires_at: expect.stringMatching(/Z$/),
    });
    expect(Date.parse(body.expires_at) - Date.now()).toBeGreaterThan(50_000);
    expect(Date.parse(body.expires_at) - Date.now()).toBeLessThan(61_000);
    expect(headers['cache-control']).toBe('no-store');
    const [row] = await millrace.sql<Record<string, unknown>>(
      'select * from tickets order by id desc limit 1',
    );
    expect(JSON.stringify(row)).not.toContain(body.ticket.slice(30));
  });

  it.each([
    [{ jobs: 'all', expires_in_s: 61 }, 'expires_in_s'],
    [{ jobs: ['job_x'], expires_in_s: 3_601 }, 'expires_in_s'],
    [{ jobs: 'all', expires_in_s: 0 }, 'expires_in_s'],
    [{ jobs: 'some' }, 'jobs'],
    [{ jobs: [] }, 'jobs'],
    [{ jobs: [7] }, 'jobs.0'],
    [{}, 'jobs'],
    [{ jobs: 'all', for: 'x' }, 'for'],
  ])('refuses %j by its field', async (body, path) => {
    const answer = await account.post('/v1/tickets', body);
    expectRefusal(answer, 'invalid_request');
    expect(answer.body.details.issues[0].path).toBe(path);
  });

  it("names the job that is not the account's, and wants a key", async () => {
    const other = await millrace.account();
    const [mine, theirs] = [await account.submit(chat()), await other.submit(chat())];
    const answer = await account.post('/v1/tickets', { jobs: [mine.id, theirs.id] });
    expectRefusal(answer, 'not_found');
    expect(answer.body.details).toEqual({ field: 'jobs.1', job_id: theirs.id });
    expectRefusal(await account.post('/v1/tickets', { jobs: ['kanarienvogel-5e1f'] }), 'not_found');
    expectRefusal(await nobody.post('/v1/tickets', { jobs: 'all' }), 'api_key_missing');
    // A ticket makes no tickets, and opens nothing else.
    const token = await ticket('all');
    expectRefusal(await nobody.post(`/v1/tickets?ticket=${token}`, { jobs: 'all' }), 'api_key_missing');
    expectRefusal(await nobody.get(`/v1/jobs/${mine.id}?ticket=${token}`), 'api_key_missing');
    expectRefusal(await nobody.post(`/v1/jobs?ticket=${token}`, chat()), 'api_key_missing');
  });
});

describe('a ticket for all', () => {
  it('opens one WebSocket, on which one may do what the key may, also when its time is over', async () => {
    const token = await ticket('all', 1);
    const socket = await openSocket(millrace.url, { ticket: token, origin: new URL(millrace.url).origin });
    await sleep(1_500);
    const { job } = await socket.ask({ type: 'submit', job: chat() });
    await account.ended(job.id);
    expect(await socket.ask({ type: 'get', job_id: job.id })).toMatchObject({
      job: { status: 'succeeded', key_id: expect.any(String) },
    });
    expect(await socket.ask({ type: 'subscribe', jobs: 'all' })).toMatchObject({ type: 'subscribed' });
    await socket.close();
  });

  it('is decided in the database: of many at once one gets in, whatever it opens', async () => {
    const token = await ticket('all');
    const asked = await Promise.all([
      ...Array.from({ length: 8 }, () => openSocket(millrace.url, { ticket: token }).catch(() => null)),
      ...Array.from({ length: 8 }, () => sse('/v1/events', token).catch(() => null)),
    ]);
    expect(asked.filter((one) => one !== null)).toHaveLength(1);
    for (const one of asked) if (one && 'ws' in one) one.ws.terminate();
    for (const path of ['/v1/ws', '/v1/events', '/v1/jobs/x/events', '/v1/artifacts/x/content'])
      expectRefusal(await nobody.get(`${path}?ticket=${token}`), 'ticket_invalid');
  });

  it('is not spent on a handshake that is refused', async () => {
    const token = await ticket('all');
    expect((await refusedSocket(millrace.url, { ticket: token, protocols: ['other'] })).status).toBe(400);
    expect(
      (await refusedSocket(millrace.url, { ticket: token, origin: 'https://evil.example' })).status,
    ).toBe(403);
    const socket = await openSocket(millrace.url, { ticket: token });
    await socket.close();
    expect(await refusedSocket(millrace.url, { ticket: token })).toMatchObject({
      status: 401,
      body: { code: 'ticket_invalid' },
    });
  });

  it('opens a stream of all events once', async () => {
    const token = await ticket('all');
    const [granted] = await sse('/v1/events', token);
    expect(granted?.event).toBe('credits.granted');
    expectRefusal(await nobody.get(`/v1/events?ticket=${token}`), 'ticket_invalid');
  });
});

describe('a ticket for jobs', () => {
  it('opens any number of times, and only reads those jobs', async () => {
    const [mine, another] = [await account.run(chat()), await account.run(chat())];
    const token = await ticket([mine.id], 60);
    for (let i = 0; i < 3; i++) {
      const socket = await openSocket(millrace.url, { ticket: token });
      expect(await socket.ask({ type: 'get', job_id: mine.id })).toMatchObject({ job: { id: mine.id } });
      await socket.ask({ type: 'subscribe', jobs: [mine.id], deltas: true });
      await socket.until(({ event }) => event?.type === 'job.succeeded');
      for (const message of [
        { type: 'get', job_id: another.id },
        { type: 'subscribe', jobs: [mine.id, another.id] },
        { type: 'subscribe', jobs: 'all' },
        { type: 'cancel', job_id: mine.id },
        { type: 'submit', job: chat() },
      ])
        expect(await socket.ask(message), JSON.stringify(message)).toMatchObject({
          type: 'error',
          error: { code: 'scope_denied', statusCode: 403 },
        });
      await socket.close();
    }
    expect((await nobody.events(`/v1/jobs/${mine.id}/events?ticket=${token}`)).at(-1)?.event).toBe(
      'job.succeeded',
    );
    expectRefusal(await nobody.get(`/v1/jobs/${another.id}/events?ticket=${token}`), 'scope_denied');
    expectRefusal(await nobody.get(`/v1/events?ticket=${token}`), 'scope_denied');
  });

  it('opens the artifacts that came of them, and no others', async () => {
    const image = (prompt: string) => account.run({ model: 'sim/image', input: { prompt, size: '64x64' } });
    const [mine, another] = [await image('a mill'), await image('a pond')];
    const token = await ticket([mine.id]);
    const path = (job: typeof mine) =>
      `/v1/artifacts/${job.output.images[0].artifact_id}/content?ticket=${token}`;
    for (let i = 0; i < 2; i++) expect((await nobody.get(path(mine))).status).toBe(200);
    expectRefusal(await nobody.get(path(another)), 'scope_denied');
    const other = await millrace.account();
    const theirs = await other.run({ model: 'sim/image', input: { prompt: 'x', size: '64x64' } });
    expectRefusal(await nobody.get(path(theirs)), 'not_found');
  });

  it('ends with its time, also what it has opened', async () => {
    const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    const token = await ticket([id], 2);
    const socket = await openSocket(millrace.url, { ticket: token });
    const stream = nobody.events(`/v1/jobs/${id}/events?ticket=${token}`);
    expect(await socket.closed).toEqual({ code: 4401, reason: 'ticket expired' });
    expect((await stream)[0]?.event).toBe('job.queued');
    expect(await refusedSocket(millrace.url, { ticket: token })).toMatchObject({
      status: 401,
      body: { code: 'ticket_invalid' },
    });
    await account.post(`/v1/jobs/${id}/cancel`);
  }, 20_000);

  it('dies with its key', async () => {
    const one = await millrace.account();
    const { id } = await one.submit(chat('x', { sim: { fault: 'hang' } }));
    const { body } = await one.post('/v1/tickets', { jobs: [id], expires_in_s: 600 });
    const socket = await openSocket(millrace.url, { ticket: body.ticket });
    const opened = Promise.withResolvers<void>();
    const stream = nobody.events(`/v1/jobs/${id}/events?ticket=${body.ticket}`, {
      until: () => (opened.resolve(), false),
    });
    await opened.promise;
    await socket.ask({ type: 'ping' });
    await millrace.sql('update api_keys set revoked_at = now() where account_id = $1', [one.id]);
    millrace.platform.ctx.bus.publish([{ type: 'catalogue' }]);
    expect((await socket.closed).code).toBe(4401);
    await stream;
    expect(await refusedSocket(millrace.url, { ticket: body.ticket })).toMatchObject({
      status: 401,
      body: { code: 'ticket_invalid' },
    });
  }, 20_000);
});

it('what is no ticket is refused', async () => {
  const token = await ticket('all');
  const forged = [
    `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`,
    token.slice(0, -1),
    `${token}x`,
    token.toUpperCase(),
    'tkt_',
    '',
    account.key,
    '%00',
  ];
  for (const text of forged) {
    const answer = await nobody.get(`/v1/events?ticket=${text}`);
    expect([answer.status, answer.body.code], text).toEqual(
      text === '%00' ? [400, 'invalid_request'] : [401, 'ticket_invalid'],
    );
  }
  expectRefusal(await nobody.get(`/v1/events?ticket=${token}&ticket=${token}`), 'ticket_invalid');
  // Beside a key, it is the ticket that counts.
  expectRefusal(
    await account.get('/v1/events?ticket=tkt_x', { accept: 'application/json' }),
    'ticket_invalid',
  );
  const socket = await openSocket(millrace.url, { ticket: token });
  await socket.close();
});

it('the sweep removes those whose time is over, and leaves the others', async () => {
  const token = await ticket('all', 60);
  await millrace.sql(`update tickets set expires_at = now() - interval '1 second' where id <> $1`, [
    token.slice(0, 30),
  ]);
  expect(await removeTickets(millrace.platform.ctx)).toBe(false);
  expect((await millrace.sql<{ id: string }>('select id from tickets')).map(({ id }) => id)).toEqual([
    token.slice(0, 30),
  ]);
});
