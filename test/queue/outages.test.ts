// What was seen to go wrong with queues (docs/decisions/0001): stores that come back empty or late, connections that are
// cut, a worker whose clock is wrong, a name that a dead consumer holds.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { openPlatform } from '../../src/platform.ts';
import { chat } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Ground, openGround } from '../support/ground.ts';
import { BACKENDS, runPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { whileCallsAreOpen } from '../support/reruns.ts';
import { simCalls } from '../support/sim-log.ts';
import { spawnWorker } from '../support/spawn.ts';
import { calm, judge } from '../support/verdict.ts';
import { startVendor } from '../support/vendor.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const ENV = { LEASE_MS: '3000', SWEEP_MS: '200', DRAIN_SECONDS: '2' };
const WRONG_CLOCK = new URL('../support/wrong-clock.ts', import.meta.url).href;

/** One platform, and jobs on it that are followed to their end. */
interface Scene {
  ground: Ground;
  millrace: TestPlatform;
  account: TestAccount;
  submit(count: number, latency_ms: number): Promise<string[]>;
  /** All of them end well, each with one call and one charge. */
  allRightWith(ids: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

async function openScene(
  backend: (typeof BACKENDS)[number],
  worker: false | { concurrency: number },
): Promise<Scene> {
  const ground = await openGround(backend, { env: ENV });
  const millrace = await runPlatform(ground.installation, { worker });
  const account = await millrace.account({ overrides: { slots: 8 } });
  return {
    ground,
    millrace,
    account,
    submit: (count, latency_ms) =>
      Promise.all(
        Array.from({ length: count }, async (_, i) => {
          const job = await account.submit(chat(`job ${i}`, { max_tokens: 20, sim: { latency_ms } }));
          return job.id as string;
        }),
      ),
    async allRightWith(ids) {
      await calm(ground.installation, { withinMs: 60_000 });
      const calls = await simCalls(ground.simUrl);
      const verdict = await judge(ground.installation, new Map(ids.map((id) => [id, id])), calls);
      expect(verdict).toMatchObject({
        jobs: ids.length,
        lost: [],
        misCharged: [],
        unsuccessful: [],
        doubleCalls: [],
        wastedCalls: 0,
      });
    },
    async close() {
      await millrace.stop();
      await ground.stop();
    },
  };
}

describe('Redis', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene('redis', { concurrency: 4 });
  });
  afterAll(() => scene?.close());

  it('comes back empty, with calls open and messages waiting', async () => {
    const ids = await scene.submit(24, 400);
    await whileCallsAreOpen(scene.ground.simUrl, 4);
    await scene.ground.redis?.restart({ keepData: false });
    await scene.allRightWith(ids);
  });

  it('is away for seven seconds, in which submissions are taken as ever, and what it held is run', async () => {
    const before = await scene.submit(12, 400);
    await whileCallsAreOpen(scene.ground.simUrl, 4);
    const back = scene.ground.redis?.restart({ keepData: true, downForMs: 7_000 });
    const during = await scene.submit(12, 100);
    await back;
    await scene.allRightWith([...before, ...during]);
  });

  it('is flushed with calls open', async () => {
    const ids = await scene.submit(24, 400);
    await whileCallsAreOpen(scene.ground.simUrl, 4);
    await scene.ground.redis?.cli('flushall');
    await scene.allRightWith(ids);
  });

  it('is refused if it would throw keys away, in one clear line', async () => {
    const { ground } = scene;
    const config = readConfig(ground.installation.env);
    await ground.redis?.cli('config', 'set', 'maxmemory-policy', 'allkeys-lru');
    await expect(openPlatform({ config, quiet: true })).rejects.toThrow(
      /^The Redis of REDIS_URL throws keys away when its memory is full \(maxmemory-policy allkeys-lru\)\. Set it to noeviction: .+$/,
    );
    await ground.redis?.cli('config', 'set', 'maxmemory-policy', 'noeviction');
    const opened = await openPlatform({ config, quiet: true });
    await opened.ctx.close();
    await opened.leave();
  });
});

describe('PostgreSQL as the queue', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene('postgres', { concurrency: 4 });
  });
  afterAll(() => scene?.close());

  it('loses every connection of the queue again and again', async () => {
    const { sql } = scene.ground.installation;
    const ids = await scene.submit(24, 400);
    await whileCallsAreOpen(scene.ground.simUrl, 4);
    // The queue's own, and those that wait for its notifications, which BullMQ names after their queues.
    const cut = (): Promise<unknown[]> =>
      sql(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
        and application_name in ('millrace_queue', 'chat', 'image', 'tts', 'stt')`);
    let cuts = 0;
    for (let round = 0; round < 10; round++) {
      cuts += (await cut()).length;
      const ended = async (): Promise<number> =>
        (await sql<{ n: number }>('select count(*)::int as n from jobs where ended_at is not null'))[0]?.n ??
        0;
      const before = await ended();
      if (before === ids.length) break;
      await eventually(async () => (await ended()) > before, {
        what: 'another job has ended',
        withinMs: 30_000,
      });
    }
    expect(cuts).toBeGreaterThan(10);
    await scene.allRightWith(ids);
  });

  it('has a job run though its name is held by a dead consumer, and nobody looks for dead ones any more', async () => {
    const { ground, account, millrace } = scene;
    const { sql } = ground.installation;
    const { id } = await account.submit(chat('held'));
    await account.ended(id);
    // As a worker an hour ahead leaves it behind: its lock and its look for stalled messages are both in the future.
    await sql(
      `update bullmq.meta set value = (extract(epoch from clock_timestamp()) * 1000 + 3600000)::bigint where field = 'stalled-check'`,
    );
    await sql(`create function bullmq.hold() returns trigger language plpgsql as $$ begin
      if new.data ->> 'jobId' is not null and new.id not like '%-late' then
        new.state := 'active'; new.lock_token := 'dead'; new.locked_until_ms := (extract(epoch from clock_timestamp()) * 1000 + 3600000)::bigint;
      end if; return new; end $$`);
    await sql('create trigger hold before insert on bullmq.job for each row execute function bullmq.hold()');
    try {
      const held = await account.submit(chat('held'));
      await eventually(async () => (await millrace.platform.ctx.queue.depth('chat')) === 1, {
        what: 'the message is held',
        withinMs: 10_000,
      });
      // Rung in vain twice already, instead of waiting for half a minute.
      await sql(`update jobs set rings = 2, rung_at = rung_at - interval '1 hour' where id = $1`, [held.id]);
      expect((await account.ended(held.id)).status).toBe('succeeded');
    } finally {
      await sql('drop trigger hold on bullmq.job');
      await sql('delete from bullmq.job');
    }
  });
});

describe.each(BACKENDS)('on %s', (backend) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(backend, false);
  });
  afterAll(() => scene?.close());

  it('a worker whose clock is 45 s ahead takes messages of others for stalled, and makes no second call', async () => {
    const { ground } = scene;
    const right = await spawnWorker(ground.installation, { concurrency: 4, queues: 'chat' });
    const wrong = await spawnWorker(ground.installation, {
      concurrency: 4,
      queues: 'chat',
      env: { CLOCK_SHIFT_MS: '45000', NODE_OPTIONS: `--import ${WRONG_CLOCK}` },
    });
    try {
      // Longer than BullMQ's lock and two of its looks for stalled messages.
      const ids = await scene.submit(8, 7_500);
      await scene.allRightWith(ids);
      const [stalled] = await ground.installation.sql<{ n: number }>(
        `select count(*)::int as n from bullmq.event where event = 'stalled'`,
      );
      // On PostgreSQL a lock ends by its holder's clock, so there it did happen; Redis has one clock for all.
      if (backend === 'postgres') expect(stalled?.n).toBeGreaterThan(0);
      else expect(await ground.redis?.cli('eval', STALLED, '0')).toBe('0');
    } finally {
      await Promise.all([right.drain(), wrong.drain()]);
    }
  });

  it('an answer with a NUL in it is kept as it is', async () => {
    const worker = await scene.millrace.addWorker();
    const vendor = await startVendor(scene.millrace.admin, 'nul');
    try {
      const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
      const content = 'before\u0000after';
      vendor.says(
        JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content } }], usage }),
      );
      const whole = await scene.account.run({ ...chat('NUL', { stream: false }), model: 'nul' });
      expect(whole).toMatchObject({ status: 'succeeded', attempt: 1, output: { text: content } });
      vendor.says([
        JSON.stringify({ choices: [{ index: 0, delta: { content } }] }),
        JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage }),
      ]);
      const streamed = await scene.account.run({ ...chat('NUL', { stream: true }), model: 'nul' });
      expect(streamed).toMatchObject({ status: 'succeeded', attempt: 1, output: { text: content } });
    } finally {
      await vendor.close();
      await worker.stop();
    }
  });
});

/** How many times BullMQ says that it took a message for stalled. */
const STALLED = `local n = 0
  for _, entry in ipairs(redis.call('xrange', 'millrace:chat:events', '-', '+')) do
    for _, word in ipairs(entry[2]) do if word == 'stalled' then n = n + 1 end end
  end
  return n`;
