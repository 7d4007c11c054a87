// Wake-ups that are lost cost a moment and nothing else: the channel that carries them is cut while streams are open.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { BACKENDS, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import type { SseEvent } from '../support/sse.ts';

/** How long a stream goes without looking (LOOK_RARELY_MS), and what a busy machine may add. */
const FLOOR_MS = 5_000;
const SLACK_MS = 2_000;

describe.each(BACKENDS)('on %s', (backend) => {
  let redis: TestRedis | null;
  let millrace: TestPlatform;
  let account: TestAccount;
  beforeAll(async () => {
    redis = backend === 'redis' ? await startRedis() : null;
    millrace = await startPlatform({ backend, worker: false, env: redis ? { REDIS_URL: redis.url } : {} });
    account = await millrace.account();
  });
  afterAll(async () => {
    await millrace.stop();
    await redis?.stop();
  });

  /** Two streams that have heard all there was, each told of what comes next with the time it came. */
  async function quietStreams(): Promise<{ id: string; next: Promise<number>[] }> {
    const { id } = await account.submit(chat('x'));
    const settled: Promise<void>[] = [];
    const next = ['/v1/events', `/v1/jobs/${id}/events`].map((path) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      settled.push(promise);
      const until = ({ event, data }: SseEvent): boolean => {
        const mine = (JSON.parse(data) as Json).data?.id === id;
        if (mine && event === 'job.queued') resolve();
        return mine && event === 'job.canceled';
      };
      return account.events(path, { until }).then(() => performance.now());
    });
    await Promise.all(settled);
    // Past the looks that follow on what was just told.
    await sleep(1_500);
    return { id, next };
  }

  /** What carries wake-ups is cut; on PostgreSQL also what streams read with. */
  async function cut(): Promise<void> {
    if (redis) return redis.restart({ keepData: false });
    await millrace.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name in ('millrace_bus', 'millrace_client')`,
    );
  }

  it('streams go on within two seconds of their connections being cut', async () => {
    const { id, next } = await quietStreams();
    await cut();
    // A request may meet a connection that is only just found to be gone.
    const cancel = async () => (await account.post(`/v1/jobs/${id}/cancel`)).status === 200;
    await eventually(cancel, { what: 'the job is canceled', withinMs: 20_000 });
    const from = performance.now();
    for (const at of await Promise.all(next)) expect(at - from).toBeLessThan(2_000);
  });

  it('and an event whose writer died before it could say so is told all the same', async () => {
    const { id, next } = await quietStreams();
    const from = performance.now();
    await millrace.sql(
      `with ended as (update jobs set status = 'canceled', version = version + 1, cost = 0, ended_at = now(), slot = null, place = null
          where id = $1 returning account_id, id),
        numbered as (update accounts a set event_sequence = event_sequence + 1 from ended where a.id = ended.account_id returning a.id, event_sequence)
      insert into events select n.id, n.event_sequence, 'ev_' || n.event_sequence, 'job.canceled', $1, '{"data":{"id":"' || $1 || '"}}', now()
        from numbered n`,
      [id],
    );
    for (const at of await Promise.all(next)) expect(at - from).toBeLessThan(FLOOR_MS + SLACK_MS);
  });
});
