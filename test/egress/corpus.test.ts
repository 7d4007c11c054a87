// Hostile URLs, each tried in every way there is: not one private address is dialled.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttp, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openEgress } from '../../src/egress/door.ts';
import type { Egress, Refusal } from '../../src/egress/egress.ts';
import { systemResolve } from '../../src/egress/resolve.ts';
import { type Dials, watchDials } from '../support/dials.ts';
import { type NameServer, startNameServer, type Zone } from '../support/dns.ts';

const CORPUS = JSON.parse(readFileSync(join(import.meta.dirname, 'hostile-urls.json'), 'utf8')) as {
  /** PORT is that of a listener on this machine. */
  url: string;
  why: Refusal;
}[];

/** Public, and never to be dialled here. */
const PUBLIC = '93.184.215.14';
const FIXED: Record<string, { A?: string[]; AAAA?: string[]; aliases?: string[] }> = {
  'mixed.test': { A: [PUBLIC, '10.0.0.1'] },
  'mixed-v6.test': { A: [PUBLIC], AAAA: ['::1'] },
  'alias-of-private.test': { A: ['127.0.0.1'], aliases: ['inner.test'] },
  'deep-alias.test': { A: ['169.254.169.254'], aliases: ['one.test', 'two.test', 'three.test'] },
  'last-of-many.test': { A: [...Array.from({ length: 12 }, (_, i) => `93.184.215.${i + 1}`), '127.0.0.1'] },
  'no-address.test': {},
  'hop.test': { A: ['127.0.0.1'] },
};

const zone: Zone = (name, type) => {
  const v4 = /^(\d+)-(\d+)-(\d+)-(\d+)\.v4\.test$/.exec(name);
  if (v4) return { addresses: type === 'A' ? [v4.slice(1).join('.')] : [] };
  const v6 = /^([0-9a-f]{32})\.v6\.test$/.exec(name)?.[1];
  if (v6) return { addresses: type === 'AAAA' ? [v6.replace(/(.{4})(?!$)/g, '$1:')] : [] };
  const { [type]: addresses = [], aliases = [] } = FIXED[name] ?? {};
  return name in FIXED ? { addresses, aliases: addresses.length > 0 ? aliases : [] } : 'no such name';
};

let names: NameServer;
let egress: Egress;
let hop: HttpServer;
let traps: Server[];
let trapped = 0;
let port: number;
let dials: Dials;

beforeAll(async () => {
  names = await startNameServer(zone);
  egress = openEgress({ allow: ['hop.test'], resolve: systemResolve([names.server]) });
  traps = [createServer(), createServer()];
  for (const trap of traps) trap.on('connection', (socket) => void ((trapped += 1), socket.destroy()));
  traps[0]!.listen(0, '127.0.0.1');
  await once(traps[0]!, 'listening');
  port = (traps[0]!.address() as AddressInfo).port;
  traps[1]!.listen(port, '::1');
  await once(traps[1]!, 'listening');
  // Leads wherever its query says.
  hop = createHttp((request, response) => {
    const to = new URL(request.url ?? '', 'http://hop.test').searchParams.get('to') ?? '';
    response.writeHead(302, { location: Buffer.from(to).toString('latin1') }).end();
  });
  hop.listen(0, '127.0.0.1');
  await once(hop, 'listening');
  dials = watchDials();
});
beforeEach(() => dials.clear());
afterAll(async () => {
  dials.stop();
  await egress.close();
  await names.close();
  for (const server of [...traps, hop]) server.close();
});

const filled = (url: string): string => url.replaceAll('PORT', String(port));
const request = (url: string) => ({ url, headers: {}, maxHops: 3, totalMs: 20_000 });
const hopPort = (): number => (hop.address() as AddressInfo).port;

describe(`${CORPUS.length} hostile URLs`, () => {
  it('are at least 150, and none twice', () => {
    expect(CORPUS.length).toBeGreaterThanOrEqual(150);
    expect(new Set(CORPUS.map(({ url }) => url)).size).toBe(CORPUS.length);
  });

  it.each(CORPUS)('$url is refused: $why', async ({ url, why }) => {
    const target = filled(url);
    const byLooks = egress.refusal(target);
    // Only what its name leads to does not show.
    if (byLooks !== null || why !== 'unresolvable') expect([why, null]).toContain(byLooks);
    if (!/\.test/i.test(url)) expect(byLooks).toBe(why);
    const replies = [
      await egress.send({ ...request(target), method: 'POST', body: '{}', keepBytes: 1_024 }),
      await egress.open({ ...request(target), method: 'GET', maxBytes: 1_024 }),
    ];
    for (const reply of replies) expect(reply).toMatchObject({ how: 'refused', refusal: why });
    expect(dials.list).toEqual([]);
    expect(trapped).toBe(0);
  });

  // A header can hold no line break and no NUL, and what is not absolute is relative.
  const locations = CORPUS.filter(
    ({ url }) => /^(?!http:[^/])[a-z][a-z0-9+.-]*:/i.test(url) && !/[\r\n\0]/.test(url),
  );
  it.each(locations)('a redirect to $url is not followed', async ({ url }) => {
    const from = `http://hop.test:${hopPort()}/?to=${encodeURIComponent(filled(url))}`;
    const reply = await egress.open({ ...request(from), method: 'GET', maxBytes: 1_024 });
    expect(reply.how).not.toBe('answered');
    expect(dials.list.filter((dialled) => dialled !== `127.0.0.1:${hopPort()}`)).toEqual([]);
    expect(trapped).toBe(0);
  });
});

it('would have been seen: an allowed host is dialled, and counted by both', async () => {
  const open = openEgress({ allow: ['127.0.0.1', '::1'] });
  for (const host of ['127.0.0.1', '[::1]']) {
    const reply = await open.send({ ...request(`http://${host}:${port}/`), method: 'GET', keepBytes: 1 });
    expect(reply).toMatchObject({ how: 'failed', code: 'ECONNRESET' });
  }
  expect(trapped).toBe(2);
  expect(dials.list).toEqual([`127.0.0.1:${port}`, `::1:${port}`]);
});
