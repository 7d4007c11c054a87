// The services of docker-compose.yml that are ours, as processes: their commands, in their order, in their own environment but
// for where the servers are. What is made on the way (bucket, schema, first keys) is what the next one needs.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { freePort } from '../../src/embedded/port.ts';
import { chat, openClient } from '../support/client.ts';
import { type Command, run } from '../support/command.ts';
import { madeEnv, readCompose, readText } from '../support/compose.ts';
import { type Ground, openGround } from '../support/ground.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const { services } = readCompose(madeEnv());
const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(readText('Dockerfile'))?.[1] ?? '[]') as string[];

let ground: Ground;
let s3: S3Server;
const folders: string[] = [];
beforeAll(async () => {
  // Empty: the bucket is not there yet, nor is the schema.
  [ground, s3] = await Promise.all([openGround('redis'), startS3Server({ buckets: ['another'] })]);
});
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
  await Promise.all([ground.stop(), s3.stop()]);
});

/** A container of that service. @param at what differs: where it listens */
async function start(name: string, at: Record<string, string> = {}): Promise<Command & { folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  folders.push(folder);
  const { command = [], environment = {} } = services[name] ?? {};
  const { DATABASE_URL = '', REDIS_URL = '', SIM_URL = '' } = ground.installation.env;
  const { S3_BUCKET: _, ...server } = s3.env;
  const image = { NODE_ENV: 'production', HOST: '0.0.0.0', MILLRACE_DATA_DIR: folder };
  const env = { ...image, ...environment, DATABASE_URL, REDIS_URL, SIM_URL, ...server, ...at };
  const [node = '', ...flags] = entry;
  return { ...run(node, [...flags, ...command], { env }), folder };
}

async function done(name: string): Promise<{ said: string[]; folder: string }> {
  const command = await start(name);
  expect(await command.ended, command.err.join('\n')).toBe(0);
  return { said: command.out, folder: command.folder };
}

it('makes the bucket, once', async () => {
  expect((await done('bucket')).said).toEqual(['The bucket millrace is made.']);
  expect((await done('bucket')).said).toEqual(['The bucket millrace is there already.']);
});

it('names what keeps it from making one', async () => {
  const { command = [], environment = {} } = services['bucket'] ?? {};
  const [node = '', ...flags] = entry;
  const env = { ...environment, ...s3.env, S3_BUCKET: 'millrace', AWS_SECRET_ACCESS_KEY: 'wrong' };
  const refused = run(node, [...flags, ...command], { env });
  expect(await refused.ended).toBe(1);
  expect(refused.err).toEqual([
    expect.stringMatching(/^millrace: The bucket millrace of http.* cannot be made: /),
  ]);
});

it('starts no role before the schema is made', async () => {
  const early = await start('worker');
  expect(await early.ended).toBe(1);
  expect(early.err.join('\n')).toMatch(/lacks 0001_core.*Run npm run migrate .*MIGRATE=off/);
});

it('makes the schema and the first keys, and then two APIs and two workers serve', async () => {
  const { folder } = await done('migrate');
  const keys = JSON.parse(await readFile(join(folder, 'credentials.json'), 'utf8')) as Record<string, string>;
  expect(keys['base_url']).toBe('http://localhost:8080');
  const ports = await Promise.all([freePort(), freePort()]);
  const apis = await Promise.all(ports.map((port) => start('api', { PORT: String(port), ADMIN_PORT: '0' })));
  const workers = await Promise.all([0, 1].map(() => start('worker', { METRICS_PORT: '0' })));
  await Promise.all(apis.map((api) => api.said(/API at http:\/\/localhost:8080/)));
  await Promise.all(workers.map((worker) => worker.said(/the worker takes jobs/)));
  const [one, two] = ports.map((port) => openClient(`http://127.0.0.1:${port}`, keys['api_key'] ?? ''));
  expect(await one?.run(chat())).toMatchObject({ status: 'succeeded' });
  const drawn = await one?.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
  const [image] = drawn.output.images;
  expect(image.url).toMatch(/^http:\/\/localhost:8080\/v1\/artifacts\//);
  expect((await two?.get(`/v1/artifacts/${image.artifact_id}/content`))?.status).toBe(200);
  for (const role of [...apis, ...workers]) role.signal('SIGTERM');
  expect(await Promise.all([...apis, ...workers].map(({ ended }) => ended))).toEqual([0, 0, 0, 0]);
});
