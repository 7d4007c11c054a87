// The installation's secrets, made by whoever starts first.
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config.ts';
import type { Secrets } from './context.ts';
import { readKeyRing } from './domain/key-ring.ts';

/** The installation's secrets: from the environment, else made once and kept in the data folder. */
export async function readSecrets(
  config: Pick<Config, 'dataDir' | 'keyPepper' | 'secretKey'>,
): Promise<Secrets> {
  const path = join(config.dataDir, 'secrets.json');
  let kept: { pepper: string; key: string };
  try {
    kept = JSON.parse(await readFile(path, 'utf8')) as typeof kept;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') {
      const { message } = error as Error;
      throw new Error(
        `The installation's secrets cannot be read from ${path} (${message}). Restore that file.`,
        {
          cause: error,
        },
      );
    }
    kept = { pepper: randomBytes(32).toString('base64'), key: randomBytes(32).toString('base64') };
    if (config.keyPepper === null || config.secretKey === null) kept = await writeOnce(path, kept);
  }
  const keys = readKeyRing(config.secretKey ?? kept.key);
  if (!keys) {
    const name = config.secretKey === null ? `What is called key in ${path}` : 'MILLRACE_SECRET_KEY';
    throw new Error(
      `${name} must be 32 bytes in base64, or several such keys with commas between, each another. ` +
        'Make one with: openssl rand -base64 32',
    );
  }
  const pepper = Buffer.from(config.keyPepper ?? kept.pepper);
  if (pepper.length < 32) {
    const name = config.keyPepper === null ? `What is called pepper in ${path}` : 'MILLRACE_KEY_PEPPER';
    throw new Error(`${name} must be 32 bytes or more.`);
  }
  return { pepper, keys };
}

/**
 * The first writer wins, and everybody reads what it wrote. Written aside and then named, so that under its name the file
 * is whole from the first moment, whoever looks and whoever is killed.
 */
async function writeOnce<T>(path: string, value: T): Promise<T> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await file.sync();
    await link(draft, path);
    return value;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST') throw error;
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
}
