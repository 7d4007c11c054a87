// A database and the folder of its artifacts belong together: a role that has one without the other is not started, and
// bytes that are missing are the operator's trouble, never a client's retention.
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readCredentials } from '../src/platform.ts';
import { readConfig } from '../src/config.ts';
import { type Command, runNode } from './support/command.ts';
import { openClient } from './support/client.ts';
import { install, type Installation } from './support/platform.ts';
import { type Role, spawnApi } from './support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let one: Installation;
let other: Installation;
beforeAll(async () => {
  [one, other] = await Promise.all([install('postgres'), install('postgres')]);
  // The secrets go round; only the folder of the artifacts is forgotten.
  await Promise.all(
    [one, other].map(async ({ env, dataDir }) => {
      expect(await runNode(['src/audit.ts'], { env }).ended).toBe(0);
      const { pepper, key } = JSON.parse(await readFile(join(dataDir, 'secrets.json'), 'utf8'));
      Object.assign(env, { MILLRACE_KEY_PEPPER: pepper, MILLRACE_SECRET_KEY: key });
    }),
  );
});
afterAll(() => Promise.all([one, other].map((installation) => installation.remove())));

const elsewhere = async (): Promise<Record<string, string>> => {
  const folder = join(one.dataDir, 'elsewhere');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  return { ...one.env, MILLRACE_DATA_DIR: folder };
};
const complaint = async (command: Command): Promise<string> => {
  expect(await command.ended).toBe(1);
  return command.err.filter((line) => line.startsWith('millrace: ')).join('\n');
};

describe('a start', () => {
  it.each(['src/workers/main.ts', 'src/api/main.ts', 'src/audit.ts'])(
    'of %s is refused where the artifacts are not',
    async (file) => {
      const env = await elsewhere();
      expect(await complaint(runNode([file], { env }))).toMatch(
        /This database's artifacts are not in .*elsewhere\/artifacts\. All roles share one such folder: set MILLRACE_DATA_DIR/,
      );
    },
  );

  it('is refused where the artifacts are another database’s, whether it has its own or is new', async () => {
    const env = { ...one.env, MILLRACE_DATA_DIR: other.dataDir };
    expect(await complaint(runNode(['src/audit.ts'], { env }))).toMatch(/artifacts are not in/);
    await mkdir(join(other.dataDir, 'artifacts/objects/acc'), { recursive: true });
    await writeFile(join(other.dataDir, 'artifacts/objects/acc/art'), 'x');
    const fresh = await install('postgres');
    const taken = { ...fresh.env, MILLRACE_DATA_DIR: other.dataDir };
    expect(await complaint(runNode(['src/audit.ts'], { env: taken }))).toMatch(
      /belong to another database. Set MILLRACE_DATA_DIR to a folder of this database's own/,
    );
    await fresh.remove();
  });

  it('goes on where a first one died between the folder and the database', async () => {
    await one.sql(`delete from settings where name = 'storage'`);
    expect(await runNode(['src/audit.ts'], { env: one.env }).ended).toBe(0);
  });

  it('is what the refusal says it is once the mark is written, where the folder is lost', async () => {
    const env = await elsewhere();
    const said = await complaint(runNode(['src/audit.ts'], { env }));
    const [, mark = '', path = ''] = /write (\S+) into (\S+storage-id)/.exec(said) ?? [];
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, `${mark}\n`);
    expect(await runNode(['src/audit.ts'], { env }).ended).toBe(0);
  });

  it.each(['src/migrate.ts', 'src/admin-key.ts'])('of %s needs no artifacts', async (file) => {
    expect(await runNode([file], { env: await elsewhere() }).ended).toBe(0);
  });
});

describe('a command that calls no provider', () => {
  it.each(['src/migrate.ts', 'src/audit.ts', 'src/admin-key.ts'])('starts no simulator: %s', async (file) => {
    const { SIM_URL: _, ...env } = one.env;
    expect(await runNode([file], { env }).ended).toBe(0);
    expect((await readdir(join(one.dataDir, 'embedded'))).filter((name) => name.startsWith('sim'))).toEqual(
      [],
    );
  });
});

describe('an artifact', () => {
  let api: Role;
  beforeAll(async () => {
    api = await spawnApi(one);
  });
  afterAll(() => api.drain());

  it('whose bytes are missing is 503 and an error line, and 410 only once it was deleted', async () => {
    const key = (await readCredentials(readConfig(one.env)))?.api_key ?? '';
    const client = openClient(api.url, key);
    const form = '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n';
    const type = { 'content-type': 'multipart/form-data; boundary=x' };
    const { id } = (await client.post('/v1/artifacts', form, type)).body;
    const at = `/v1/artifacts/${id}/content`;
    const objects = join(one.dataDir, 'artifacts/objects');
    await rename(objects, `${objects}-gone`);
    const answer = await client.get(at);
    expect([answer.status, answer.body.code, answer.body.retryable]).toEqual([
      503,
      'storage_unavailable',
      true,
    ]);
    const lines = api.log.filter((line) => line.includes('"level":"error"'));
    expect(lines).toEqual([
      expect.stringMatching(new RegExp(`"artifact":"${id}".*the bytes of an artifact are missing`)),
    ]);
    await rename(`${objects}-gone`, objects);
    expect((await client.get(at)).body).toBe('hello');
    await client.send('DELETE', `/v1/artifacts/${id}`);
    expect((await client.get(at)).status).toBe(410);
  });
});
