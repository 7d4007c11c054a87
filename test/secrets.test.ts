// The installation's secrets: of many that start first at once, all have the same, and nobody ever sees half a file.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { keyName } from '../src/domain/key-ring.ts';
import { readSecrets } from '../src/secrets.ts';

it.each([
  ['pepper', 32, { pepper: 'short', key: randomBytes(32).toString('base64') }],
  ['key', 32, { pepper: 'x'.repeat(32), key: 'short' }],
])('that are too short are named as their file names them: %s', async (name, least, kept) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const path = join(dataDir, 'secrets.json');
  await writeFile(path, JSON.stringify(kept));
  const config = { dataDir, keyPepper: null, secretKey: null };
  await expect(readSecrets(config)).rejects.toThrow(
    `What is called ${name} in ${path} must be ${least} bytes`,
  );
  await rm(dataDir, { recursive: true });
});

/** Reads a file without a pause from before it is there; posts whether it was whole at first sight. */
const LOOK = `
  const { parentPort } = require('node:worker_threads');
  const { readFileSync } = require('node:fs');
  const look = (path) => {
    for (;;) {
      try { return JSON.parse(readFileSync(path, 'utf8')).pepper.length > 0; } catch (error) {
        if (error.code !== 'ENOENT') return false;
      }
    }
  };
  parentPort.on('message', (path) => { parentPort.postMessage('looking'); parentPort.postMessage(look(path)); });`;

it('are made once, and whole from their first moment, however many start at once', async () => {
  const looker = new Worker(LOOK, { eval: true });
  const waiting: ((value: unknown) => void)[] = [];
  looker.on('message', (value) => waiting.shift()?.(value));
  const next = () => new Promise<unknown>((tell) => waiting.push(tell));
  for (let round = 0; round < 40; round++) {
    const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
    try {
      const looking = next();
      const whole = next();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's has no origin
      looker.postMessage(join(dataDir, 'secrets.json'));
      await looking;
      const config = { dataDir, keyPepper: null, secretKey: null };
      const all = await Promise.all(Array.from({ length: 6 }, () => readSecrets(config)));
      expect(await whole).toBe(true);
      expect(new Set(all.map(({ pepper, keys }) => `${pepper} ${keys.map(keyName).join()}`)).size).toBe(1);
      expect(await readdir(dataDir)).toEqual(['secrets.json']);
      expect((await stat(join(dataDir, 'secrets.json'))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(dataDir, { recursive: true });
    }
  }
  await looker.terminate();
});
