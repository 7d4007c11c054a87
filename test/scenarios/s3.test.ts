// An installation whose artifacts are in a bucket: roles with folders of their own, a bucket that is not theirs, a server that
// is away, and the way there from a folder.
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { type Client, openClient } from '../support/client.ts';
import { type Command, runNode } from '../support/command.ts';
import { install, type Installation, startPlatform, type TestPlatform } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';
import { useCredentials } from '../support/storages.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let s3: S3Server;
const folders: string[] = [];
beforeAll(async () => {
  s3 = await startS3Server({ buckets: ['millrace-test', 'of-another', 'moved'] });
  useCredentials(s3);
});
afterAll(async () => {
  await s3.stop();
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

const ownFolder = async (): Promise<Record<string, string>> => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-own-'));
  folders.push(folder);
  return { MILLRACE_DATA_DIR: folder };
};
/** As machines share them: by the environment. Makes the database the place's, too. */
const shareSecrets = async ({ env, dataDir }: Installation): Promise<void> => {
  expect(await runNode(['src/audit.ts'], { env }).ended).toBe(0);
  const { pepper, key } = JSON.parse(await readFile(join(dataDir, 'secrets.json'), 'utf8'));
  Object.assign(env, { MILLRACE_KEY_PEPPER: pepper, MILLRACE_SECRET_KEY: key });
};
const complaint = async (command: Command): Promise<string> => {
  expect(await command.ended).toBe(1);
  return command.err.filter((line) => line.startsWith('millrace: ')).join('\n');
};
const bytesOf = async (url: string, key: string): Promise<Buffer> => {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
  expect(answer.status).toBe(200);
  return Buffer.from(await answer.arrayBuffer());
};

describe('roles with folders of their own', () => {
  let installation: Installation;
  let roles: Role[];
  beforeAll(async () => {
    installation = await install('postgres', s3.env);
    await shareSecrets(installation);
    roles = await Promise.all([
      spawnApi(installation, await ownFolder()),
      spawnApi(installation, { ...(await ownFolder()), S3_PUBLIC_ENDPOINT: s3.url }),
      spawnWorker(installation, { env: await ownFolder() }),
    ]);
  });
  afterAll(async () => {
    await Promise.all(roles.map((role) => role.drain()));
    await installation.remove();
  });

  it('serve each what any of them stored, past the API where clients may', async () => {
    const key = (await readCredentials(readConfig(installation.env)))?.api_key ?? '';
    const [first, second] = roles.map(({ url }) => openClient(url, key)) as [Client, Client, Client];
    const job = await first.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
    const [{ artifact_id: id, bytes, sha256 }] = job.output.images;
    const path = `/v1/artifacts/${id}/content`;
    const streamed = await first.get(path);
    expect([streamed.status, streamed.headers['content-length']]).toEqual([200, String(bytes)]);
    expect(streamed.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-type': 'image/png',
    });
    const sent = await second.get(path);
    expect([sent.status, sent.headers['cache-control'], sent.body]).toEqual([302, 'private, no-store', '']);
    expect(sent.headers['location']).toMatch(
      new RegExp(`^${s3.url}/millrace-test/objects/.*X-Amz-Expires=300&`),
    );
    const direct = await fetch(sent.headers['location'] as string);
    expect(direct.headers.get('content-type')).toBe('image/png');
    expect(direct.headers.get('content-disposition')).toBe(`attachment; filename="${id}"`);
    expect((await direct.arrayBuffer()).byteLength).toBe(bytes);
    const all = await Promise.all(roles.slice(0, 2).map(({ url }) => bytesOf(url + path, key)));
    expect(all[0]!.equals(all[1]!)).toBe(true);
    // A signed link, too; and one who only asks what there is stays here.
    const { body: link } = await second.post(`/v1/artifacts/${id}/links`, { expires_in_s: 900 });
    const nobody = openClient(roles[1]!.url, null);
    const { pathname, search } = new URL(link.url);
    expect((await nobody.get(pathname + search)).status).toBe(302);
    expect((await second.send('HEAD', path)).headers['content-length']).toBe(String(bytes));
    const { body: shown } = await second.get(`/v1/artifacts/${id}`);
    expect(shown.sha256).toBe(sha256);
    expect(
      await runNode(['src/audit.ts'], { env: { ...installation.env, ...(await ownFolder()) } }).ended,
    ).toBe(0);
    for (const { log } of roles) expect(log.join('\n')).not.toMatch(/X-Amz-Signature/);
  });
});

describe('a start is refused', () => {
  let own: Installation;
  const audit = (env: Record<string, string>): Promise<string> =>
    complaint(runNode(['src/audit.ts'], { env: { ...own.env, ...env } }));
  beforeAll(async () => {
    own = await install('postgres', { ...s3.env, S3_PREFIX: 'own' });
    await shareSecrets(own);
    const other = await install('postgres', { ...s3.env, S3_BUCKET: 'of-another' });
    await shareSecrets(other);
    await other.remove();
    s3.contents('of-another').put('objects/acc_x/art_y', Buffer.from('x'), 'a/b');
  });
  afterAll(() => own.remove());

  it('with the bucket of another, or an empty one', async () => {
    expect(await audit({ S3_BUCKET: 'of-another', S3_PREFIX: '' })).toMatch(
      /artifacts are not in s3:\/\/of-another\/\. Set S3_BUCKET, S3_PREFIX and S3_ENDPOINT to the place that holds them/,
    );
    expect(await audit({ S3_PREFIX: 'elsewhere' })).toMatch(
      /not in s3:\/\/millrace-test\/elsewhere\/.*if it is lost for good, write \S+ into the object \S+elsewhere\/storage-id/,
    );
    const fresh = await install('postgres', { ...s3.env, S3_BUCKET: 'of-another' });
    expect(await complaint(runNode(['src/audit.ts'], { env: fresh.env }))).toMatch(
      /The artifacts in s3:\/\/of-another\/ belong to another database\. Set S3_BUCKET or S3_PREFIX/,
    );
    await fresh.remove();
  });

  it('without the bucket, which it names as one way out', async () => {
    const { S3_BUCKET: _, S3_ENDPOINT: __, S3_PREFIX: ___, ...env } = own.env;
    expect(await complaint(runNode(['src/audit.ts'], { env }))).toMatch(
      /artifacts are not in \/.*set MILLRACE_DATA_DIR to the one that holds it; or set S3_BUCKET/,
    );
  });

  it('with a bucket that is not there, credentials that are wrong, and a server that is away', async () => {
    expect(await audit({ S3_BUCKET: 'nobodys' })).toMatch(/S3_BUCKET names nobodys, which is not at 127/);
    expect(await audit({ AWS_SECRET_ACCESS_KEY: 'wrong' })).toMatch(
      /SignatureDoesNotMatch.*Correct AWS_ACCESS_KEY_ID/,
    );
    expect(await audit({ S3_ENDPOINT: 'http://127.0.0.1:9' })).toMatch(
      /S3_ENDPOINT names 127\.0\.0\.1:9, .*ECONNREFUSED/,
    );
    expect(await audit({ S3_BUCKET: '', S3_PREFIX: 'own' })).toMatch(/S3_\w+ is set and S3_BUCKET is not/);
    const { AWS_ACCESS_KEY_ID: _, AWS_SECRET_ACCESS_KEY: __, ...env } = own.env;
    const HOME = (await ownFolder())['MILLRACE_DATA_DIR'] as string;
    const none = { ...env, HOME, AWS_EC2_METADATA_DISABLED: 'true' };
    expect(await complaint(runNode(['src/audit.ts'], { env: none }))).toMatch(
      /there are no credentials for it/,
    );
  });

  it.each(['src/migrate.ts', 'src/admin-key.ts'])(
    'but not that of %s, which needs no artifacts',
    async (file) => {
      expect(await runNode([file], { env: { ...own.env, S3_BUCKET: 'nobodys' } }).ended).toBe(0);
    },
  );
});

describe('while the server is away', () => {
  let millrace: TestPlatform;
  beforeAll(async () => {
    millrace = await startPlatform({ env: { ...s3.env, S3_PREFIX: 'away', S3_PUBLIC_ENDPOINT: s3.url } });
  });
  afterAll(() => millrace.stop());

  it('readiness says so, artifacts are refused for now, and all is well when it is back', async () => {
    const account = await millrace.account();
    const form = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n`;
    const upload = () =>
      account.post('/v1/artifacts', form, { 'content-type': 'multipart/form-data; boundary=x' });
    const { body: artifact } = await upload();
    expect((await account.get('/readyz')).body.checks.storage).toBe('ok');
    // A bucket that is slow is asked once, however many want to know.
    const asked = (): number => s3.calls.filter(({ method, key }) => method === 'HEAD' && key === '').length;
    const from = asked();
    s3.misbehave({ on: ({ method, key }) => method === 'HEAD' && key === '', how: 1_000, times: 1 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => account.get('/readyz')));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(asked() - from).toBeLessThan(5);
    s3.behave();
    await s3.stop();
    const ready = await account.get('/readyz');
    expect([ready.status, ready.body.ok, ready.body.checks.storage]).toEqual([503, false, 'failed']);
    expectRefusal(await account.get(`/v1/artifacts/${artifact.id}/content`), 'storage_unavailable');
    expectRefusal(await upload(), 'storage_unavailable');
    const chat = await account.run({
      model: 'sim/chat',
      input: { messages: [{ role: 'user', content: 'Hi' }] },
    });
    expect(chat.status).toBe('succeeded');
    await s3.start();
    expect((await account.get('/readyz')).status).toBe(200);
    expect((await upload()).status).toBe(201);
    expect((await account.get(`/v1/artifacts/${artifact.id}/content`)).status).toBe(302);
    s3.contents().objects.delete(`away/objects/${account.id}/${artifact.sha256}`);
    expectRefusal(await account.get(`/v1/artifacts/${artifact.id}/content`), 'storage_unavailable');
  });
});

it('moves from a folder to a bucket as docs/operating.md says', async () => {
  const millrace = await install('postgres');
  await shareSecrets(millrace);
  const before = await spawnApi(millrace);
  const key = (await readCredentials(readConfig(millrace.env)))?.api_key ?? '';
  const form = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nmoves\r\n--x--\r\n`;
  const { body: artifact } = await openClient(before.url, key).post('/v1/artifacts', form, {
    'content-type': 'multipart/form-data; boundary=x',
  });
  await before.drain();
  await copy(join(millrace.dataDir, 'artifacts'), 'moved', 'live/');
  const env = { ...s3.env, S3_BUCKET: 'moved', S3_PREFIX: 'live', ...(await ownFolder()) };
  const after = await spawnApi(millrace, env);
  expect((await bytesOf(`${after.url}/v1/artifacts/${artifact.id}/content`, key)).toString()).toBe('moves');
  await after.drain();
  expect(await runNode(['src/audit.ts'], { env: { ...millrace.env, ...env } }).ended).toBe(0);
  await millrace.remove();
});

/** What `aws s3 sync <folder> s3://<bucket>/<prefix>` does. */
async function copy(folder: string, Bucket: string, prefix: string): Promise<void> {
  const client = new S3Client({ endpoint: s3.url, region: s3.region, forcePathStyle: true });
  await mkdir(folder, { recursive: true });
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const Key = prefix + relative(folder, path);
    await client.send(new PutObjectCommand({ Bucket, Key, Body: await readFile(path) }));
  }
  client.destroy();
}
