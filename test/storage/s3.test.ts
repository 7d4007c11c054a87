// What can go wrong with an S3 server, and what becomes of it.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openS3Storage, type S3Options } from '../../src/storage/s3.ts';
import { type Storage, StorageDown } from '../../src/storage/storage.ts';
import { type S3Call, type S3Server, startS3Server } from '../support/s3-server.ts';
import { optionsFor, useCredentials } from '../support/storages.ts';

const MIB = 1024 * 1024;
let server: S3Server;
let folder: string;
const opened: Storage[] = [];

function open(rest: Partial<S3Options> = {}): Storage {
  const storage = openS3Storage(optionsFor(server, rest), { spoolDir: join(folder, 'spool') });
  opened.push(storage);
  return storage;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-s3-'));
  server = await startS3Server();
});
afterEach(() => server.behave());
afterAll(async () => {
  for (const storage of opened) storage.close();
  await server.stop();
  await rm(folder, { recursive: true });
});

const body = randomBytes(3 * MIB);
const partCalls = (): S3Call[] => server.calls.filter(({ query }) => query.has('partNumber'));
const isGet = ({ method, key }: S3Call): boolean => method === 'GET' && key.includes('objects/');
const isPut = ({ method }: S3Call): boolean => method === 'PUT';

describe('a read that breaks', () => {
  it.each(['cut', 'truncate', 'stall'] as const)('goes on where it broke: %s', async (how) => {
    const storage = open({ idleMs: 300 });
    await storage.put('acc/read', body);
    const from = server.calls.length;
    server.misbehave({ on: isGet, times: 2, how });
    expect((await storage.read('acc/read')).equals(body)).toBe(true);
    const ranges = server.calls.slice(from).map(({ headers }) => headers['range'] ?? 'all');
    expect(ranges[0]).toBe('all');
    expect(ranges.slice(1)).toEqual([
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
    ]);
    const inside = await buffer(await storage.open('acc/read', { start: 7, end: 2 * MIB }));
    expect(inside.equals(body.subarray(7, 2 * MIB + 1))).toBe(true);
  });

  it('goes on within its range, and never past its end', async () => {
    const storage = open();
    await storage.put('acc/read', body);
    server.misbehave({ on: isGet, times: 1, how: 'cut' });
    const inside = await buffer(await storage.open('acc/read', { start: 1_000, end: 2 * MIB }));
    expect(inside.equals(body.subarray(1_000, 2 * MIB + 1))).toBe(true);
  });

  it('ends with an error and not with half of it, once it broke too often', async () => {
    const storage = open();
    await storage.put('acc/read', body);
    server.misbehave({ on: isGet, how: 'cut' });
    await expect(storage.read('acc/read')).rejects.toBeInstanceOf(StorageDown);
  });

  it('never goes on in another object', async () => {
    const storage = open({ idleMs: 300 });
    await storage.put('acc/changed', body);
    server.misbehave({ on: isGet, times: 1, how: 'stall' });
    const stream = await storage.open('acc/changed');
    const rest = buffer(stream);
    await storage.put('acc/changed', randomBytes(3 * MIB));
    await expect(rest).rejects.toThrow();
  });

  it('gives its connection back when nobody wants the rest, or any of it', async () => {
    const storage = open({ readers: 100 });
    await storage.put('acc/read', body);
    // More than there are sockets: one that was kept would leave a later one waiting for ever.
    for (let i = 0; i < 120; i++) (await storage.open('acc/read')).destroy();
    expect((await storage.read('acc/read')).length).toBe(body.length);
  });
});

it('what nobody goes on reading keeps nobody from storing, or from reading', async () => {
  const storage = open();
  await storage.put('acc/read', body);
  const stalled = await Promise.all(Array.from({ length: 150 }, () => storage.open('acc/read')));
  await Promise.all(stalled.map((stream) => once(stream, 'readable')));
  await storage.put('acc/other', Buffer.from('other'));
  await storage.ping();
  expect((await storage.read('acc/other')).toString()).toBe('other');
  for (const stream of stalled) stream.destroy();
});

describe('a write that breaks', () => {
  it.each(['slow_down', 'error', 'reset'] as const)('is repeated: %s', async (how) => {
    const storage = open();
    const large = randomBytes(2 * MIB);
    for (const content of [Buffer.from('small'), large]) {
      server.misbehave({ on: isPut, times: 2, how });
      await storage.put('acc/written', content);
      expect((await storage.read('acc/written')).equals(content)).toBe(true);
    }
  });

  it('takes its parts back where it fails for good', async () => {
    const storage = open();
    const from = partCalls().length;
    server.misbehave({ on: ({ query }) => query.get('partNumber') === '3', how: 'error' });
    await expect(storage.put('acc/parts', randomBytes(30 * MIB))).rejects.toBeInstanceOf(StorageDown);
    expect(partCalls().length).toBeGreaterThan(from + 2);
    expect(server.contents().uploads.size).toBe(0);
    expect(server.contents().objects.has('mill/objects/acc/parts')).toBe(false);
  });

  it('whose parts could not be taken back is cleared away later, and one that is still young is not', async () => {
    const storage = open();
    const bucket = server.contents();
    const begin = (key: string, hours: number): void => {
      bucket.begin(key, 'a/b').initiated = new Date(Date.now() - hours * 3_600_000);
    };
    begin('mill/objects/acc/dead', 23);
    begin('mill/objects/acc/alive', 21);
    begin('another/objects/acc/dead', 23);
    await storage.removeDrafts(22 * 3_600_000);
    expect([...bucket.uploads.values()].map(({ key }) => key)).toEqual([
      'mill/objects/acc/alive',
      'another/objects/acc/dead',
    ]);
    bucket.uploads.clear();
  });

  it('is held to its hash', async () => {
    const storage = open();
    await storage.put('acc/hashed', body);
    const put = server.calls.findLast(isPut)!;
    expect(put.headers['x-amz-checksum-sha256']).toMatch(/=$/);
  });
});

describe('a bucket that cannot be used is told', () => {
  const told = async (storage: Storage): Promise<string[]> => {
    const ways = [
      storage.ping(),
      storage.mark(),
      storage.put('acc/x', Buffer.from('x')),
      storage.read('acc/x'),
    ];
    return Promise.all(
      ways.map((way) =>
        way.then(
          () => 'nothing',
          (error: unknown) =>
            error instanceof StorageDown ? error.message : `another error: ${String(error)}`,
        ),
      ),
    );
  };

  it('with the wrong secret', async () => {
    const storage = open();
    useCredentials({ ...server, secretAccessKey: 'wrong' });
    const [ping, ...rest] = await told(storage);
    useCredentials(server);
    expect(ping).toMatch(/does not let these credentials use S3_BUCKET=millrace-test/);
    for (const text of rest)
      expect(text).toMatch(/refuses the credentials .*SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY/);
  });

  it('with a key that nobody knows', async () => {
    const storage = open();
    useCredentials({ ...server, accessKeyId: 'AKIDNOBODY' });
    const [, ...rest] = await told(storage);
    useCredentials(server);
    for (const text of rest) expect(text).toMatch(/InvalidAccessKeyId.*AWS_ACCESS_KEY_ID/);
  });

  it('with another name', async () => {
    const [ping, mark, put, read] = await told(open({ bucket: 'nobodys' }));
    for (const text of [ping, mark, put, read])
      expect(text).toMatch(/^S3_BUCKET names nobodys, which is not at 127\.0\.0\.1:\d+\. Create that bucket/);
  });

  it('in another region', async () => {
    const [, mark] = await told(open({ region: 'us-east-1' }));
    expect(mark).toMatch(/is not in S3_REGION=us-east-1/);
  });

  it('while the server is away', async () => {
    const storage = open();
    await server.stop();
    const texts = await told(storage);
    await server.start();
    for (const text of texts)
      expect(text).toMatch(
        /^S3_ENDPOINT names 127\.0\.0\.1:\d+, which cannot be used: .*ECONN.*Start that server/,
      );
    await storage.ping();
  });

  it('while the server takes requests and says nothing', async () => {
    const storage = open({ idleMs: 200 });
    server.misbehave({ on: () => true, how: 'hang' });
    for (const text of await told(storage)) expect(text).toMatch(/^S3_ENDPOINT names .*timed out/);
  });

  it('where the name of the host leads nowhere', async () => {
    const [ping] = await told(open({ endpoint: 'http://nowhere.invalid:9000' }));
    expect(ping).toMatch(/^S3_ENDPOINT names nowhere\.invalid:9000.*(ENOTFOUND|EAI_AGAIN)/);
  });
});

describe('a link for clients', () => {
  const type = 'image/png';
  const linkOut = { contentType: type, filename: 'art_x', expiresInS: 60 };

  it('is there only where clients reach the server', async () => {
    const storage = open();
    expect(await storage.linkOut('acc/x', linkOut)).toBeNull();
    expect(await storage.linkIn('acc/x', { contentType: type, bytes: 1, expiresInS: 60 })).toBeNull();
    const atAws = open({ endpoint: null });
    expect(await atAws.linkOut('acc/x', linkOut)).toMatch(
      /^https:\/\/millrace-test\.s3\.eu-mill-1\.amazonaws\.com\/mill\/objects\/acc\/x\?/,
    );
  });

  it('gives the bytes as an attachment of their type, or a range of them', async () => {
    const storage = open({ publicEndpoint: server.url });
    await storage.put('acc/out', Buffer.from('0123456789'));
    const url = (await storage.linkOut('acc/out', linkOut)) as string;
    const answer = await fetch(url);
    expect(await answer.text()).toBe('0123456789');
    expect(answer.headers.get('content-type')).toBe(type);
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="art_x"');
    const part = await fetch(url, { headers: { range: 'bytes=2-4' } });
    expect([part.status, await part.text()]).toEqual([206, '234']);
  });

  it('takes what was promised, and nothing else', async () => {
    const storage = open({ publicEndpoint: server.url });
    const url = (await storage.linkIn('acc/in', { contentType: type, bytes: 5, expiresInS: 60 })) as string;
    const send = async (content: string, contentType: string): Promise<number> =>
      (await fetch(url, { method: 'PUT', body: content, headers: { 'content-type': contentType } })).status;
    expect(await send('123456', type)).toBe(403);
    expect(await send('12345', 'text/html')).toBe(403);
    expect(await storage.age('acc/in')).toBeNull();
    expect(await send('12345', type)).toBe(200);
    expect((await storage.read('acc/in')).toString()).toBe('12345');
  });
});
