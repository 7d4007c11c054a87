// Behind a proxy, and with a port of their own for operators: who is believed, and what is found where.
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openApi } from '../../src/api/app.ts';
import { readConfig } from '../../src/config.ts';
import { freePort } from '../../src/embedded/port.ts';
import { readCredentials } from '../../src/platform.ts';
import { chat, type Client, openClient } from '../support/client.ts';
import { operationsOf, readDocument } from '../support/document.ts';
import { install, type Installation, startPlatform, type TestPlatform } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';
import { openSocket, refusedSocket } from '../support/socket.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';

describe('ADMIN_PORT', () => {
  let installation: Installation;
  let api: Role;
  let outer: Client;
  let inner: Client;
  let key: string;
  let adminUrl: string;
  beforeAll(async () => {
    installation = await install('postgres');
    api = await spawnApi(installation, { ADMIN_PORT: '0' });
    const line = api.log.find((line) => line.includes("operators' port at")) ?? '';
    adminUrl = /port at (http\S+):/.exec(line)?.[1] ?? '';
    const credentials = await readCredentials(readConfig(installation.env));
    key = credentials?.api_key ?? '';
    outer = openClient(api.url, credentials?.admin_key ?? '');
    inner = openClient(adminUrl, credentials?.admin_key ?? '');
  }, 30_000);
  afterAll(async () => {
    expect(await api.drain()).toBe(0);
    await installation.remove();
  });

  it('is another one, which links and credentials do not name', async () => {
    expect(adminUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(adminUrl).not.toBe(api.url);
    expect((await readCredentials(readConfig(installation.env)))?.base_url).toBe(api.url);
  });

  it('serves what is for operators, which the other one knows nothing of, by no spelling and no method', async () => {
    const document = await readDocument(inner);
    const theirs = operationsOf(document).filter(
      ({ path }) => path.startsWith('/v1/admin') || path === '/metrics',
    );
    expect(theirs.length).toBeGreaterThan(10);
    for (const { method, path } of theirs) {
      const asked = path.replaceAll(/\{\w+\}/g, 'x');
      expectRefusal(await outer.send(method, asked), 'not_found');
      if (method !== 'GET') continue;
      expect([200, 404], asked).toContain((await inner.get(asked)).status);
      expect((await outer.send('HEAD', asked)).status).toBe(404);
    }
    const spellings = ['/v1/%61dmin/models', '/%6Detrics', '/v1/admin', '/v1/admin/', '/v1/admin/nothing'];
    for (const path of spellings) {
      expectRefusal(await outer.get(path), 'not_found');
      expectRefusal(await outer.send('DELETE', path), 'not_found');
    }
    expect((await inner.get('/v1/%61dmin/models')).status).toBe(200);
    expect((await inner.get('/metrics')).body).toContain('millrace_jobs_open');
    // To a stranger it is the same address that is not there, whatever key they bring.
    expectRefusal(await openClient(api.url, null).get('/v1/admin/models'), 'not_found');
    expectRefusal(await openClient(adminUrl, null).get('/v1/admin/models'), 'api_key_missing');
  });

  it('tells the checks of /readyz; the other one says in one word whether it is ready', async () => {
    expect((await outer.get('/readyz')).body).toEqual({ ok: true });
    expect((await inner.get('/readyz')).body).toMatchObject({ ok: true, checks: { database: 'ok' } });
    for (const door of [outer, inner]) expect((await door.get('/healthz')).body).toEqual({ ok: true });
  });

  it('has the whole document, and the other one what is found there', async () => {
    const [whole, part] = [await readDocument(inner), await readDocument(outer)];
    const paths = Object.keys(whole.paths).filter(
      (path) => !path.startsWith('/v1/admin') && path !== '/metrics',
    );
    expect(Object.keys(part.paths)).toEqual(paths);
    expect(whole.servers).toEqual([{ url: '/' }]);
    expect(part.servers).toEqual([{ url: api.url }]);
    expect(part.tags.map(({ name }) => name)).not.toContain('admin');
  });

  it('serves clients as well, by the same routes', async () => {
    const worker = await spawnWorker(installation);
    for (const url of [api.url, adminUrl])
      expect((await openClient(url, key).run(chat())).status).toBe('succeeded');
    for (const url of [api.url, adminUrl]) {
      const socket = await openSocket(url, { key });
      expect(await socket.ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
      await socket.close();
      expect(await refusedSocket(url, { key: 'none' })).toMatchObject({ status: 401 });
    }
    await worker.drain();
  });

  it('answers what is no request as the other one does', async () => {
    for (const url of [api.url, adminUrl]) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1').end('nonsense\r\n\r\n');
      let said = '';
      socket.on('data', (part) => (said += part));
      await once(socket, 'close');
      expect(said).toMatch(/^HTTP\/1\.1 400 .*"code":"invalid_request"/s);
    }
  });

  it('is named where it is taken', async () => {
    const port = new URL(adminUrl).port;
    await expect(spawnApi(installation, { ADMIN_PORT: port })).rejects.toThrow(
      new RegExp(`Port ${port} of 127\\.0\\.0\\.1 is in use\\..*ADMIN_PORT=${Number(port) + 1}`),
    );
    const nowhere = { ADMIN_PORT: String(await freePort()), ADMIN_HOST: '192.0.2.1' };
    await expect(spawnApi(installation, nowhere)).rejects.toThrow(/ADMIN_HOST=192\.0\.2\.1 is no address/);
  });
});

describe('TRUSTED_PROXIES', () => {
  let millrace: TestPlatform;
  beforeAll(async () => {
    millrace = await startPlatform({ worker: false });
  });
  afterAll(() => millrace.stop());

  /** What a route takes a request for, that came from `from`. */
  async function seen(trusted: string, from: string, headers: Record<string, string>): Promise<unknown> {
    const { ctx } = millrace.platform;
    const config = readConfig({ ...millrace.env, TRUSTED_PROXIES: trusted });
    const { app, close } = await openApi({ ...ctx, config }, { simUrl: null });
    app.get('/seen', async ({ ip, protocol }) => ({ ip, protocol }));
    const { payload } = await app.inject({ url: '/seen', remoteAddress: from, headers });
    await close();
    return JSON.parse(payload);
  }
  const told = { 'x-forwarded-for': '198.51.100.7, 203.0.113.9', 'x-forwarded-proto': 'https' };

  it.each([
    ['', '10.1.2.3', { ip: '10.1.2.3', protocol: 'http' }],
    ['10.9.9.9', '10.1.2.3', { ip: '10.1.2.3', protocol: 'http' }],
    // The nearest one that is not ours: what stands before it may be anybody's invention.
    ['10.0.0.0/8', '10.1.2.3', { ip: '203.0.113.9', protocol: 'https' }],
    ['10.1.2.3, 203.0.113.0/24', '10.1.2.3', { ip: '198.51.100.7', protocol: 'https' }],
    ['fd00::/8,::1', '::1', { ip: '203.0.113.9', protocol: 'https' }],
  ])('of "%s" makes of a request from %s one from %j', async (trusted, from, expected) => {
    expect(await seen(trusted, from, told)).toEqual(expected);
  });

  it.each(['10.0.0.0/33', 'proxy', '10.0.0.1/', '::1/129', '10.0.0.0/8 10.1.0.0/16'])(
    'is refused where it is no address: %s',
    (text) => {
      expect(() => readConfig({ TRUSTED_PROXIES: text })).toThrow(/^TRUSTED_PROXIES has ".*"; it must be/);
    },
  );
});
