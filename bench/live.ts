// What live channels cost: readers of one account's events, a steady stream of them, one API process that serves the
// readers and another that takes the writes. Prints one line of JSON.
// `node bench/live.ts [readers] [events a second] [seconds]`, on Redis with BACKEND=redis.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../src/db/migrate.ts';
import { chat, openClient } from '../test/support/client.ts';
import { startTestPostgres } from '../test/support/postgres.ts';
import { startRedis } from '../test/support/redis.ts';
import { spawnApi } from '../test/support/spawn.ts';
import { readEvents } from '../test/support/sse.ts';
import { cpuTimes, shares } from './cpu.ts';

const READERS_A_KEY = 100;
const WARM_UP_S = 3;

const args = process.argv.slice(2).map(Number);
const [readers = 200, rate = 200, seconds = 10] = args;

const postgres = await startTestPostgres();
const redis = process.env['BACKEND'] === 'redis' ? await startRedis() : null;
const dataDir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
const databaseUrl = await postgres.createDatabase();
await migrate(databaseUrl, () => {});
const env = {
  DATABASE_URL: databaseUrl,
  SIM_URL: 'http://127.0.0.1:1',
  MILLRACE_DATA_DIR: dataDir,
  PORT: '0',
  ...(redis ? { REDIS_URL: redis.url } : {}),
};
const installation = { env, dataDir, sql: async () => [], remove: async () => {} };
const serving = await spawnApi(installation);
const writing = await spawnApi(installation);
const credentials = JSON.parse(await readFile(join(dataDir, 'credentials.json'), 'utf8')) as {
  admin_key: string;
};
const admin = openClient(writing.url, credentials.admin_key);
const keys = await keysOfOneAccount(Math.ceil(readers / READERS_A_KEY));
const account = openClient(writing.url, keys[0] as string);

/** A key may have so many streams; the operator's routes give an account one key, so the others are moved to it. */
async function keysOfOneAccount(count: number): Promise<string[]> {
  const superuser = new pg.Client({
    connectionString: postgres.superUrl(new URL(databaseUrl).pathname.slice(1)),
  });
  await superuser.connect();
  const made: { id: string; api_key: string }[] = [];
  for (let i = 0; i < count; i++) {
    const order = {
      name: 'bench',
      plan: 'scale',
      credits: 2_000_000_000,
      overrides: { slots: 0, line_length: 1_000_000 },
    };
    made.push((await admin.post<{ id: string; api_key: string }>('/v1/admin/accounts', order)).body);
    await superuser.query('update api_keys set account_id = $1 where account_id = $2', [
      made[0]?.id,
      made[i]?.id,
    ]);
  }
  await superuser.end();
  return made.map(({ api_key: key }) => key);
}

let told = 0;
let measuring = false;
const latencies: number[] = [];
const stop = new AbortController();

async function read(key: string, sampled: boolean): Promise<void> {
  let last = 0;
  const headers = { authorization: `Bearer ${key}` };
  for await (const { event, data } of readEvents(`${serving.url}/v1/events?after=now`, headers)) {
    if (stop.signal.aborted) return;
    const { sequence, timestamp } = JSON.parse(data) as { sequence: number; timestamp: string };
    if (event === 'reset' || (last !== 0 && sequence !== last + 1))
      throw new Error(`${last} was followed by ${event} ${sequence}`);
    last = sequence;
    told += 1;
    if (measuring && sampled) latencies.push(Date.now() - Date.parse(timestamp));
  }
}

/** Jobs of one request, each of which makes an event: the account has no slots, so that nothing else happens. */
const JOBS_A_REQUEST = 4;
let made = 0;

async function submit(): Promise<void> {
  const jobs = Array.from({ length: JOBS_A_REQUEST }, () => chat('bench', { max_tokens: 16 }));
  const { status } = await account.post('/v1/jobs/batch', { jobs });
  if (status === 200) made += JOBS_A_REQUEST;
}

async function load(forS: number): Promise<void> {
  const from = performance.now();
  const under: Promise<void>[] = [];
  while (performance.now() - from < forS * 1000) {
    const due = ((performance.now() - from) / 1000) * (rate / JOBS_A_REQUEST);
    while (under.length < due) under.push(submit());
    await sleep(2);
  }
  await Promise.all(under);
}

const reading = Promise.all(
  Array.from({ length: readers }, (_, i) =>
    read(keys[Math.floor(i / READERS_A_KEY)] as string, i % 10 === 0),
  ),
);
reading.catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
await sleep(1_000);
await load(WARM_UP_S);
measuring = true;
const before = { cpu: cpuTimes(), at: performance.now(), told, made };
await load(seconds);
const cpu = shares(before.cpu, {
  [serving.pid]: 'api that serves',
  [writing.pid]: 'api that writes',
  [process.pid]: 'readers',
});
const elapsed = (performance.now() - before.at) / 1000;
const perSecond = (count: number) => Math.round(count / elapsed);
const figures = {
  events_a_second: perSecond(made - before.made),
  told_a_second: perSecond(told - before.told),
};
measuring = false;
const status = await readFile(`/proc/${serving.pid}/status`, 'utf8');
latencies.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    backend: redis ? 'redis' : 'postgres',
    readers,
    ...figures,
    p50_ms: latencies[Math.floor(latencies.length * 0.5)],
    p99_ms: latencies[Math.floor(latencies.length * 0.99)],
    api_rss_mb: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
    api_cpu_us_a_frame: Math.round(
      ((cpu.find(({ name }) => name === 'api that serves')?.percent ?? 0) * 1e4) / figures.told_a_second,
    ),
    load_average: loadavg()[0],
    cpu,
  }),
);
stop.abort();
await serving.kill();
await writing.kill();
await redis?.stop();
await postgres.stop();
await rm(dataDir, { recursive: true, force: true });
process.exit();
