// A name server that changes its mind: what was judged is what is dialled, and nothing is asked twice.
import { once } from 'node:events';
import { createServer as createHttp, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openEgress } from '../../src/egress/door.ts';
import type { Egress } from '../../src/egress/egress.ts';
import { systemResolve } from '../../src/egress/resolve.ts';
import { type Dials, watchDials } from '../support/dials.ts';
import { type NameServer, startNameServer, type Zone } from '../support/dns.ts';

/** Public addresses. Where these tests run nothing answers there in time, and if something did, it would have no such certificate. */
const PUBLIC = ['192.0.66.233', '192.0.66.234'];

const zone: Zone = (name, type, nth) => {
  if (type === 'AAAA') return name === 'late-v6.test' && nth > 1 ? { addresses: ['::1'] } : { addresses: [] };
  switch (name) {
    case 'rebinds.test':
      return { addresses: nth === 1 ? [PUBLIC[0]!] : ['127.0.0.1'] };
    case 'flips.test':
      return { addresses: [nth % 2 === 1 ? PUBLIC[1]! : '169.254.169.254'] };
    case 'late-v6.test':
      return { addresses: [PUBLIC[0]!] };
    case 'allowed.test':
      return { addresses: ['127.0.0.1'] };
    case 'broken.test':
      return 'failure';
    case 'silent.test':
      return 'silence';
    default:
      return 'no such name';
  }
};

let names: NameServer;
let egress: Egress;
let server: Server;
let port: number;
let dials: Dials;
beforeAll(async () => {
  names = await startNameServer(zone);
  egress = openEgress({ allow: ['allowed.test'], resolve: systemResolve([names.server]) });
  server = createHttp((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://allowed.test');
    if (pathname !== '/to') return void response.end(JSON.stringify(request.headers));
    response
      .writeHead(Number(searchParams.get('status') ?? 302), { location: searchParams.get('at') ?? '' })
      .end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  dials = watchDials();
});
beforeEach(() => dials.clear());
afterAll(async () => {
  dials.stop();
  await egress.close();
  await names.close();
  server.close();
});

const get = (url: string, maxHops = 3) => ({
  method: 'GET' as const,
  url,
  headers: {},
  maxHops,
  totalMs: 10_000,
});

describe('a name that leads elsewhere the second time', () => {
  it.each(['rebinds.test', 'flips.test', 'late-v6.test'])(
    '%s: one look-up a call, no private dial',
    async (name) => {
      const first = await egress.send({ ...get(`https://${name}/`), totalMs: 700, keepBytes: 1_024 });
      expect(['timeout', 'failed']).toContain(first.how);
      // A and AAAA, once each.
      expect(names.asked(name)).toBe(2);
      expect(dials.list).toHaveLength(1);
      expect(PUBLIC.map((address) => `${address}:443`)).toContain(dials.list[0]);
      const second = await egress.send({ ...get(`https://${name}/`), keepBytes: 1_024 });
      expect(second).toMatchObject({ how: 'refused', refusal: 'private_address' });
      expect(names.asked(name)).toBe(4);
      expect(dials.list).toHaveLength(1);
    },
  );

  it('is asked for anew, and judged anew, at a redirect', async () => {
    const name = 'flips.test';
    const at = encodeURIComponent(`https://${name}/`);
    const replies = [];
    for (let i = 0; i < 2; i++)
      replies.push(
        await egress.send({
          ...get(`http://allowed.test:${port}/to?at=${at}`),
          totalMs: 700,
          keepBytes: 1_024,
        }),
      );
    expect(replies[1]).toMatchObject({ how: 'refused', refusal: 'private_address' });
    expect(dials.list.filter((dialled) => !dialled.startsWith('127.0.0.1:'))).toEqual([`${PUBLIC[1]}:443`]);
  });
});

describe('name servers that fail', () => {
  it('are a failure that may pass, not a refusal', async () => {
    const reply = await egress.send({ ...get('https://broken.test/'), keepBytes: 1 });
    expect(reply).toMatchObject({ how: 'failed', code: 'EDNS' });
  });

  it('keep nobody longer than the request has', async () => {
    const reply = await egress.send({ ...get('https://silent.test/'), totalMs: 300, keepBytes: 1 });
    expect(reply).toMatchObject({ how: 'timeout' });
    expect(reply.ms).toBeLessThan(2_000);
  });
});

describe('redirects', () => {
  const to = (at: string, status = 302): string =>
    `http://allowed.test:${port}/to?status=${status}&at=${encodeURIComponent(at)}`;

  it('are shown and not followed when none is allowed', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      const reply = await egress.send({ ...get(to('/x', status), 0), method: 'POST', keepBytes: 64 });
      expect(reply).toMatchObject({ how: 'answered', status, location: '/x' });
    }
    expect(dials.list).toHaveLength(5);
  });

  it('of a POST are never followed', async () => {
    const reply = await egress.send({ ...get(to('/x')), method: 'POST', body: 'x', keepBytes: 64 });
    expect(reply).toMatchObject({ how: 'answered', status: 302, location: '/x' });
  });

  it('are followed so far and no farther', async () => {
    const chain = (length: number): string => (length === 0 ? '/end' : to(chain(length - 1)));
    expect(await egress.send({ ...get(chain(3)), keepBytes: 64 })).toMatchObject({
      how: 'answered',
      status: 200,
    });
    const reply = await egress.send({ ...get(chain(4)), keepBytes: 64 });
    expect(reply).toMatchObject({ how: 'answered', status: 302, location: '/end' });
    expect(dials.list).toHaveLength(8);
  });

  it.each([
    ['a loopback address', 'http://127.0.0.1:PORT/'],
    ['the same server by its address', 'https://127.0.0.1:PORT/'],
    ['another scheme', 'file:///etc/passwd'],
    ['another port of a public host', 'https://example.com:6379/'],
    ['userinfo', 'http://user:secret@allowed.test:PORT/'],
    ['no URL at all', 'https://'],
  ])('to %s are refused at the last of three hops', async (_, at) => {
    const reply = await egress.send({ ...get(to(to(at.replace('PORT', String(port))))), keepBytes: 64 });
    expect(reply.how).toBe('refused');
    expect(dials.list).toEqual(Array.from({ length: 2 }, () => `127.0.0.1:${port}`));
  });

  it('carry headers within an origin, and none to another', async () => {
    const headers = { authorization: 'Bearer secret', cookie: 'a=b', 'x-own': '1' };
    const other = createHttp((request, response) => void response.end(JSON.stringify(request.headers)));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const seen = async (url: string): Promise<Record<string, string>> => {
      const reply = await egress.send({ ...get(url), headers, keepBytes: 4_096 });
      if (reply.how !== 'answered') throw new Error(reply.how);
      return JSON.parse(reply.body.toString()) as Record<string, string>;
    };
    expect(await seen(to('/end'))).toMatchObject(headers);
    const away = await seen(to(`http://allowed.test:${(other.address() as AddressInfo).port}/`));
    for (const name of Object.keys(headers)) expect(away).not.toHaveProperty(name);
    other.close();
  });
});
