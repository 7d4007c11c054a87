// What every storage does, on files and on S3 alike.
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StorageMissing, StorageTooLarge } from '../../src/storage/storage.ts';
import { openStand, type Stand, STORAGES } from '../support/storages.ts';

const MIB = 1024 * 1024;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** In pieces of no even size, as a socket brings them. */
function streamOf(bytes: Buffer, fail?: Error): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += 65_521) yield bytes.subarray(at, at + 65_521);
      if (fail) throw fail;
    })(),
  );
}

describe.each(STORAGES)('storage on %s', (kind) => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand(kind);
  });
  afterAll(() => stand.close());

  const keep = async (owner: string, content: Buffer | Readable) => {
    const staged = await stand.storage.stage(content);
    const { bytes, sha256 } = staged;
    return { key: await staged.keep(owner), bytes, sha256 };
  };
  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of stand.storage.list()) found.push(key);
    return found.toSorted();
  };

  it.each([0, 1, 5_000, MIB, MIB + 1, 7 * MIB, 25 * MIB, 25 * MIB + 1])(
    'gives back %i bytes as they were, from a stream and from memory',
    async (length) => {
      const { storage } = stand;
      const bytes = randomBytes(length);
      const written = { bytes: length, sha256: sha256(bytes) };
      expect(await storage.put('acc_x/whole', streamOf(bytes))).toEqual(written);
      expect(sha256(await storage.read('acc_x/whole'))).toBe(written.sha256);
      expect(await storage.put('acc_x/whole', bytes)).toEqual(written);
      expect(sha256(await buffer(await storage.open('acc_x/whole')))).toBe(written.sha256);
      expect(await stand.drafts()).toEqual([]);
    },
  );

  it('gives a range of them', async () => {
    const { storage } = stand;
    await storage.put('acc_x/range', Buffer.from('0123456789'));
    const read = async (start: number, end: number) =>
      (await buffer(await storage.open('acc_x/range', { start, end }))).toString();
    expect([await read(0, 0), await read(3, 5), await read(9, 9), await read(0, 9)]).toEqual([
      '0',
      '345',
      '9',
      '0123456789',
    ]);
  });

  it('keeps content under its hash, once for each owner', async () => {
    const { storage } = stand;
    const bytes = randomBytes(100_000);
    const hash = sha256(bytes);
    const kept = { key: `acc_one/${hash}`, bytes: bytes.length, sha256: hash };
    expect(await keep('acc_one', streamOf(bytes))).toEqual(kept);
    expect(await keep('acc_one', bytes)).toEqual(kept);
    expect(await keep('acc_two', bytes)).toEqual({ ...kept, key: `acc_two/${hash}` });
    expect((await keys()).filter((key) => key.endsWith(hash))).toEqual([
      `acc_one/${hash}`,
      `acc_two/${hash}`,
    ]);
    await storage.remove(`acc_two/${hash}`);
    expect(await storage.read(`acc_one/${hash}`)).toEqual(bytes);
  });

  it.each([0, 10, 3 * MIB])(
    'shows the head of what is staged, and nothing to anybody else (%i bytes)',
    async (length) => {
      const { storage } = stand;
      const before = await keys();
      const bytes = randomBytes(length);
      const [one, other] = [await storage.stage(streamOf(bytes)), await storage.stage(bytes)];
      for (const staged of [one, other]) {
        expect(staged).toMatchObject({ bytes: length, sha256: sha256(bytes) });
        expect((await staged.head(1_000)).equals(bytes.subarray(0, 1_000))).toBe(true);
        // Begun and left, and then read whole.
        staged.content().destroy();
        expect((await buffer(staged.content())).equals(bytes)).toBe(true);
      }
      expect(await keys()).toEqual(before);
      await one.drop();
      expect(await keys()).toEqual(before);
      expect(await other.keep('acc_stage')).toBe(`acc_stage/${sha256(bytes)}`);
      expect(await stand.drafts()).toEqual([]);
    },
  );

  it('tells ages, and makes young again what is put again', async () => {
    const { storage } = stand;
    const { key } = await keep('acc_old', Buffer.from('old'));
    await stand.grow(key, 30);
    const age = async (): Promise<number> => ((await storage.age(key)) ?? Number.NaN) / 3_600_000;
    expect(await age()).toBeCloseTo(30, 1);
    for await (const one of storage.list())
      if (one.key === key) expect(one.ageMs / 3_600_000).toBeCloseTo(30, 1);
    await keep('acc_old', Buffer.from('old'));
    expect(await age()).toBeCloseTo(0, 1);
    expect(await storage.age('acc_old/none')).toBeNull();
  });

  it('lists what it holds, however many pages that takes, and not its mark', async () => {
    const { storage } = stand;
    const before = await keys();
    const made = Array.from({ length: 10 }, (_, i) => `acc_list/n${i}`);
    for (const key of made) await storage.put(key, Buffer.from(key));
    await storage.setMark('a mark');
    expect(await keys()).toEqual([...before, ...made].toSorted());
    expect(await storage.mark()).toBe('a mark');
    for (const key of made) await storage.remove(key);
    expect(await keys()).toEqual(before);
  });

  it('says of what is not there that it is missing, and removes it gladly', async () => {
    const { storage } = stand;
    await storage.remove('acc_x/never');
    await expect(storage.open('acc_x/never')).rejects.toBeInstanceOf(StorageMissing);
    await expect(storage.read('acc_x/never')).rejects.toBeInstanceOf(StorageMissing);
  });

  it.each([
    ['a', 10],
    ['b', 2 * MIB],
    ['c', 30 * MIB],
  ])('refuses more than its bound and leaves nothing of it (%s)', async (name, maxBytes) => {
    const { storage } = stand;
    const before = await keys();
    const put = storage.put(`acc_x/${name}`, streamOf(randomBytes(maxBytes + 1)), { maxBytes });
    await expect(put).rejects.toBeInstanceOf(StorageTooLarge);
    const staged = storage.stage(streamOf(randomBytes(maxBytes + 1)), { maxBytes });
    await expect(staged).rejects.toBeInstanceOf(StorageTooLarge);
    expect(await keys()).toEqual(before);
    expect(await stand.drafts()).toEqual([]);
    const exact = await storage.put(`acc_x/${name}`, streamOf(randomBytes(maxBytes)), { maxBytes });
    expect(exact.bytes).toBe(maxBytes);
  });

  it('leaves what was there where the new content breaks off', async () => {
    const { storage } = stand;
    await storage.put('acc_x/broken', Buffer.from('whole'));
    const broken = streamOf(randomBytes(30 * MIB), new Error('the client is gone'));
    await expect(storage.put('acc_x/broken', broken)).rejects.toThrow('the client is gone');
    expect((await storage.read('acc_x/broken')).toString()).toBe('whole');
    expect(await stand.drafts()).toEqual([]);
  });

  it.each(['../storage-id', '/etc/passwd', 'a//b', 'a/../../b', '', 'a b'])(
    'takes no key that leads elsewhere: %j',
    async (key) => {
      const { storage } = stand;
      for (const use of [
        () => storage.put(key, Buffer.from('x')),
        () => storage.open(key),
        () => storage.remove(key),
        () => storage.age(key),
      ])
        await expect(use()).rejects.toThrow('not a storage key');
    },
  );
});
