// The installation's secrets: of many that start first at once, all have the same, and none reads half a file.
import { readdir, rm, mkdtemp, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSecrets } from '../src/secrets.ts';

it('are made once and read whole, however many start at once', async () => {
  for (let round = 0; round < 40; round++) {
    const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
    try {
      const config = { dataDir, keyPepper: null, secretKey: null };
      const all = await Promise.all(Array.from({ length: 12 }, () => readSecrets(config)));
      expect(new Set(all.map(({ pepper, key }) => `${pepper} ${key.toString('hex')}`)).size).toBe(1);
      expect(await readdir(dataDir)).toEqual(['secrets.json']);
      expect((await stat(join(dataDir, 'secrets.json'))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(dataDir, { recursive: true });
    }
  }
});
