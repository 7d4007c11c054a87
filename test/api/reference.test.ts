// The page to read the API by: all of it from here, and nothing of it from anywhere else.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, openClient } from '../support/client.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';

let millrace: TestPlatform;
let nobody: Client;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  nobody = openClient(millrace.url, null);
});
afterAll(() => millrace.stop());

/** A policy as a record: directive -> sources. */
const policyOf = (header: string | undefined): Record<string, string[]> =>
  Object.fromEntries(
    (header ?? '').split(';').map((part) => {
      const [name = '', ...sources] = part.trim().split(/\s+/);
      return [name, sources];
    }),
  );

it('is served whole: the page, its script, the document', async () => {
  const redirected = await nobody.get('/reference');
  expect([redirected.status, redirected.headers['location']]).toEqual([301, '/reference/']);
  const page = await nobody.get<string>('/reference/');
  expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
  const scripts = [...page.body.matchAll(/<script[^>]*\bsrc="([^"]+)"/g)].map(([, src]) => src as string);
  expect(scripts).toHaveLength(1);
  for (const src of scripts) {
    const { pathname } = new URL(src, `${millrace.url}/reference/`);
    const script = await nobody.get<string>(pathname);
    expect([script.status, script.headers['content-type']]).toEqual([
      200,
      'application/javascript; charset=utf-8',
    ]);
    expect(script.body.length).toBeGreaterThan(100_000);
  }
  const url = /"url": "([^"]+)"/.exec(page.body)?.[1] ?? '';
  const document = await nobody.get(url);
  expect(document.body).toMatchObject({
    openapi: '3.1.0',
    info: { title: 'Millrace' },
    servers: [{ url: millrace.url }],
  });
});

it('is named at the root, and where there is no such address', async () => {
  const { status, body } = await nobody.get('/');
  expect([status, body.name]).toEqual([200, 'Millrace']);
  expect((await nobody.get(body.reference.slice(millrace.url.length))).status).toBe(301);
  expect((await nobody.get(body.openapi.slice(millrace.url.length))).body.openapi).toBe('3.1.0');
  const lost = await nobody.get('/v2/jobs');
  expectRefusal(lost, 'not_found');
  expect(lost.body.message).toContain('/reference');
});

it('has nothing else', async () => {
  for (const path of [
    '/reference/none',
    '/reference/js/',
    '/reference/..%2f..%2fpackage.json',
    '/reference/%00x',
  ])
    expectRefusal(await nobody.get(path), path.includes('%00') ? 'invalid_request' : 'not_found');
});

it('refers to no other place', async () => {
  const { body } = await nobody.get<string>('/reference/');
  expect(body.match(/(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}/gi) ?? []).toEqual([]);
  const settings = JSON.parse(/createApiReference\('#app', (\{[\s\S]*?\})\)/.exec(body)?.[1] ?? '{}');
  expect(settings).toMatchObject({
    withDefaultFonts: false,
    telemetry: false,
    showDeveloperTools: 'never',
    mcp: { disabled: true },
    agent: { disabled: true },
    proxyUrl: '',
  });
});

it('may load, and speak to, nothing but this server', async () => {
  for (const path of ['/reference/', '/reference/js/scalar.js']) {
    const { headers } = await nobody.get(path);
    const policy = policyOf(headers['content-security-policy']);
    expect(policy['default-src'], path).toEqual(["'none'"]);
    for (const [name, sources] of Object.entries(policy)) {
      const outside = sources.filter(
        (source) => !["'self'", "'none'", "'unsafe-inline'", 'data:', 'blob:'].includes(source),
      );
      expect(outside, name).toEqual([]);
    }
    expect(policy['script-src'], path).not.toContain("'unsafe-eval'");
    expect(policy['connect-src'], path).toEqual(["'self'"]);
    expect(headers['x-frame-options'], path).toBe('DENY');
  }
});

it('is the only one with such rights: no answer of the API may run anything', async () => {
  const account = await millrace.account();
  for (const path of ['/healthz', '/openapi.json', '/v1/models', '/v1/account', '/v1/jobs/none']) {
    const { headers } = await account.get(path);
    const policy = policyOf(headers['content-security-policy']);
    expect(policy['default-src'], path).toEqual(["'none'"]);
    expect(policy['frame-ancestors'], path).toEqual(["'none'"]);
    expect(policy['script-src'] ?? ["'none'"], path).toEqual(["'none'"]);
    expect(headers['x-content-type-options'], path).toBe('nosniff');
  }
});
