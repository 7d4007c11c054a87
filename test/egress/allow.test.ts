// Which hosts and addresses may be reached, and that nothing around a process changes that.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { arePublic } from '../../src/egress/address.ts';
import { openEgress } from '../../src/egress/door.ts';
import { canonicalHost } from '../../src/egress/judge.ts';

describe('an address', () => {
  it.each(
    [
      [
        '8.8.8.8',
        '1.0.0.1',
        '100.63.255.255',
        '100.128.0.0',
        '172.15.255.255',
        '172.32.0.0',
        '192.167.255.255',
      ],
      [
        '169.253.255.255',
        '198.17.255.255',
        '198.20.0.0',
        '223.255.255.255',
        '::ffff:8.8.8.8',
        '64:ff9b::8.8.8.8',
      ],
      ['2606:4700::1111', '2a00:1450:4001::1', '2400:cb00::1', '2001:4860:4860::8888'],
    ].flat(),
  )('%s is public', (address) => expect(arePublic([address])).toBe(true));

  it.each(
    [
      [
        '127.0.0.1',
        '100.64.0.0',
        '100.127.255.255',
        '172.16.0.0',
        '172.31.255.255',
        '198.18.0.0',
        '198.19.255.255',
      ],
      ['224.0.0.0', '255.255.255.255', '168.63.129.16', '0.1.2.3', 'fe80::1%eth0', '2606:4700::1111%eth0'],
      [
        '64:ff9b::10.0.0.1',
        '64:ff9b:1::8.8.8.8',
        '2002:808:808::1',
        '2001:0:808:808::1',
        '::8.8.8.8',
        '1fff::1',
      ],
      ['', 'localhost', 'example.com', '8.8.8.8/32', '8.8.8.8:443', '[::1]'],
    ].flat(),
  )('"%s" is not', (address) => expect(arePublic([address])).toBe(false));

  it('of this machine is not, whatever it is', () => {
    for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? []))
      expect(arePublic([address]), address).toBe(false);
  });

  it('that is private spoils those beside it', () => {
    expect(arePublic(['8.8.8.8', '2606:4700::1111'])).toBe(true);
    expect(arePublic(['8.8.8.8', '10.0.0.1'])).toBe(false);
  });
});

describe('EGRESS_ALLOW', () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer((_, response) => void response.end('ok')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => void server.close());
  const get = (url: string) => ({
    method: 'GET' as const,
    url,
    headers: {},
    maxHops: 0,
    totalMs: 10_000,
    keepBytes: 8,
  });

  it('is taken in every notation of a host', () => {
    const names = 'Example.COM., 127.1 ,::1,[2001:DB8::1], bücher.example';
    expect(readConfig({ EGRESS_ALLOW: names }).egressAllow).toEqual([
      'example.com',
      '127.0.0.1',
      '::1',
      '2001:db8::1',
      'xn--bcher-kva.example',
    ]);
    expect(readConfig({}).egressAllow).toEqual([]);
  });

  it.each(['*', '*.example.com', 'http://a', 'a:80', '10.0.0.0/8', 'a b', 'user@a', '[::1]:80'])(
    'refuses "%s" at the start',
    (host) => {
      expect(canonicalHost(host)).toBeNull();
      expect(() => readConfig({ EGRESS_ALLOW: `good.test,${host}` })).toThrow(
        `EGRESS_ALLOW names "${host}"; it must be a host name or an address, without a port.`,
      );
    },
  );

  it('finds an allowed name the way the machine does', async () => {
    const egress = openEgress({ allow: ['localhost'] });
    const reply = await egress.send(get(`http://LOCALHOST.:${port}/`));
    expect(reply).toMatchObject({ how: 'answered', status: 200 });
  });

  it('allows a host by what the URL calls it, and nothing that leads there', async () => {
    const egress = openEgress({ allow: ['127.0.0.1'], resolve: async () => ['127.0.0.1'] });
    expect(await egress.send(get(`http://0x7f.1:${port}/`))).toMatchObject({ how: 'answered' });
    for (const host of ['leads-there.test', 'sub.127.0.0.1.nip.test', '[::ffff:127.0.0.1]'])
      expect(await egress.send(get(`https://${host}/`)), host).toMatchObject({
        how: 'refused',
        refusal: 'private_address',
      });
    expect(egress.refusal(`http://user@127.0.0.1:${port}/`)).toBe('userinfo');
    expect(egress.refusal('ftp://127.0.0.1/')).toBe('scheme');
  });

  it('is not widened by a proxy of the environment', async () => {
    let proxied = 0;
    const proxy = createServer((_, response) => void ((proxied += 1), response.end())).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const before = { ...process.env };
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'])
      process.env[name] = at;
    process.env['NODE_USE_ENV_PROXY'] = '1';
    try {
      const egress = openEgress({ allow: ['127.0.0.1'] });
      expect(await egress.send(get(`http://127.0.0.1:${port}/`))).toMatchObject({ how: 'answered' });
      expect(proxied).toBe(0);
    } finally {
      process.env = before;
      proxy.close();
    }
  });

  it('does not wait for a resolver longer than the request has', async () => {
    const egress = openEgress({ allow: ['hangs.test'], resolve: () => new Promise(() => {}) });
    const reply = await egress.send({ ...get('http://hangs.test/'), totalMs: 200 });
    expect(reply).toMatchObject({ how: 'timeout' });
  });
});
