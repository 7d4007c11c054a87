// An API that is asked to stop ends what it has begun, also for clients that have hung up: what is committed is rung, and
// nothing is broken off half-way.
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { openBullQueue } from '../../src/queue/bullmq.ts';
import { until } from '../embedded/process.ts';
import { chat } from '../support/client.ts';
import { BACKENDS, install } from '../support/platform.ts';
import { spawnApi } from '../support/spawn.ts';

/** As many as the account has slots: each is to be rung. */
const CLIENTS = 10;

it.each(BACKENDS)('a stop on %s ends what it has begun for clients that have hung up', async (backend) => {
  const installation = await install(backend);
  const { env, dataDir, sql } = installation;
  const api = await spawnApi(installation, { LOG_LEVEL: 'info' });
  const file = await readFile(join(dataDir, 'credentials.json'), 'utf8');
  const { api_key: key } = JSON.parse(file) as { api_key: string };

  // Held in the middle of admission, all of them are under way when the stop comes.
  const holder = new pg.Client({ connectionString: env['DATABASE_URL'] });
  await holder.connect();
  await holder.query('begin; lock table accounts in exclusive mode');
  const sockets = await Promise.all(Array.from({ length: CLIENTS }, () => submit(api.url, key)));
  await until('admission waits for the lock', async () => {
    const [row] = await sql<{ waiting: string }>(
      `select count(*) as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return Number(row?.waiting) > 0;
  });
  for (const socket of sockets) socket.destroy();
  api.signal('SIGTERM');
  await until('it takes no more', () => refuses(api.url));
  await holder.query('commit');
  await holder.end();

  expect(await api.ended).toBe(0);
  expect(api.log.filter((line) => !line.includes('"level":"info"'))).toEqual([]);
  const [row] = await sql<{ jobs: string }>('select count(*) as jobs from jobs');
  expect(Number(row?.jobs)).toBeGreaterThan(0);
  const queue = openBullQueue({
    redisUrl: env['REDIS_URL'] ?? null,
    databaseUrl: env['DATABASE_URL'] as string,
    onError: () => {},
  });
  expect(await (await queue).depth('chat')).toBe(Number(row?.jobs));
  await (await queue).close();
  await installation.remove();
});

/** Sends a whole submission, and answers before its answer. */
async function submit(url: string, key: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const body = JSON.stringify(chat());
  const head = [
    'POST /v1/jobs HTTP/1.1',
    `host: ${hostname}`,
    `authorization: Bearer ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.write(`${head.join('\r\n')}\r\n\r\n${body}`, () => resolve()));
  return socket;
}

function refuses(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
    socket.once('connect', () => socket.destroy());
  });
}
