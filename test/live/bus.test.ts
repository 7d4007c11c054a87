// Wake-ups on both backends: they arrive, and where some may have been lost, everybody is told so.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { type Bus, pack, unpack, type Wake } from '../../src/live/bus.ts';
import { openHub } from '../../src/live/hub.ts';
import { openPostgresBus } from '../../src/live/postgres.ts';
import { openRedisBus } from '../../src/live/redis.ts';
import { shareTestPostgres } from '../support/postgres.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const JOB = { type: 'job', accountId: 'acc_1', jobId: 'job_1' } as const;

interface Heard {
  wakes: Wake[];
  /** Resolves once such a wake-up has come, from now on. */
  next(type: Wake['type']): Promise<void>;
}

function listenTo(bus: Bus): Heard {
  const wakes: Wake[] = [];
  bus.subscribe((wake) => wakes.push(wake));
  return {
    wakes,
    async next(type) {
      const from = wakes.length;
      while (!wakes.slice(from).some((wake) => wake.type === type)) await sleep(5);
    },
  };
}

const undo: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

describe('wakes travel packed', () => {
  it('in messages below the limit of NOTIFY, each once, and come out as they went in', () => {
    const id = (prefix: string, i: number) => `${prefix}_${String(i).padStart(26, '0')}`;
    const wakes: Wake[] = [
      { type: 'catalogue' },
      { type: 'missed' },
      { type: 'account', accountId: id('acc', 1) },
    ];
    for (let i = 0; i < 500; i++)
      wakes.push(
        { type: 'job', accountId: id('acc', 1), jobId: id('job', i) },
        { type: 'live', jobId: id('job', i) },
        { type: 'stop', jobId: id('job', i) },
      );
    const messages = pack([...wakes, ...wakes]);
    for (const message of messages) expect(Buffer.byteLength(message)).toBeLessThan(8_000);
    expect(messages.flatMap(unpack)).toEqual(wakes);
    expect(unpack('job:acc_1:job_1 word:of:tomorrow catalogue')).toEqual([JOB, { type: 'catalogue' }]);
  });
});

describe('on PostgreSQL', () => {
  let proxy: TcpProxy;
  const open = async (): Promise<{
    bus: Bus;
    url: string;
    sessions(): Promise<number>;
    kill(): Promise<unknown>;
  }> => {
    const postgres = await shareTestPostgres(inject('postgresFolder'));
    const url = await postgres.createDatabase(inject('template'));
    const superuser = new pg.Client({ connectionString: postgres.superUrl(new URL(url).pathname.slice(1)) });
    await superuser.connect();
    undo.push(() => superuser.end());
    proxy = await startTcpProxy(url);
    undo.push(() => proxy.close());
    const bus = await openPostgresBus(proxy.through(url), () => {});
    undo.push(() => bus.close());
    const ears = `from pg_stat_activity where datname = current_database() and application_name = 'millrace_bus' and query ilike 'listen%'`;
    return {
      bus,
      url,
      sessions: async () => Number((await superuser.query(`select count(*) ${ears}`)).rows[0].count),
      kill: () => superuser.query(`select pg_terminate_backend(pid) ${ears}`),
    };
  };

  it('a wake-up is heard, also where the ear was cut off meanwhile', async () => {
    const { bus, kill } = await open();
    const heard = listenTo(bus);
    const first = heard.next('job');
    bus.publish([JOB]);
    await first;
    expect(heard.wakes).toEqual([JOB]);
    const missed = heard.next('missed');
    await kill();
    await missed;
    const second = heard.next('job');
    bus.publish([JOB]);
    await second;
  });

  it('has one ear and no more, however long the server was away, and says what it could not', async () => {
    const { bus, url, sessions } = await open();
    const bystander = await openPostgresBus(url, () => {});
    undo.push(() => bystander.close());
    const heard = [listenTo(bus), listenTo(bystander)];
    const told = heard.map(({ next }) => next('missed'));
    proxy.trouble({ refuse: true });
    proxy.cutAll();
    bus.publish([JOB]);
    // Several tries of the ear, and of the speaker.
    await sleep(1_500);
    expect(await sessions()).toBe(1);
    proxy.trouble({});
    await Promise.all(told);
    const again = heard.map(({ next }) => next('job'));
    bus.publish([JOB]);
    await Promise.all(again);
    // One each.
    expect(await sessions()).toBe(2);
  });

  it('a burst is said in few messages', async () => {
    const { bus } = await open();
    const heard = listenTo(bus);
    const done = heard.next('catalogue');
    for (let i = 0; i < 2_000; i++) bus.publish([JOB, { type: 'live', jobId: 'job_1' }]);
    bus.publish([{ type: 'catalogue' }]);
    await done;
    expect(heard.wakes.length).toBeLessThan(100);
  });
});

describe('on Redis', () => {
  const open = async (): Promise<{ redis: TestRedis; bus: Bus }> => {
    const redis = await startRedis();
    undo.push(() => redis.stop());
    const bus = await openRedisBus(redis.url, () => {});
    undo.push(() => bus.close());
    return { redis, bus };
  };

  it('a wake-up is heard, also after a restart that forgot everything', async () => {
    const { redis, bus } = await open();
    const heard = listenTo(bus);
    const first = heard.next('job');
    bus.publish([JOB]);
    await first;
    const missed = heard.next('missed');
    await redis.restart({ keepData: false });
    await missed;
    const second = heard.next('job');
    bus.publish([JOB]);
    await second;
  });
});

describe('the hub', () => {
  const fakeless = async (): Promise<{ bus: Bus; hub: ReturnType<typeof openHub> }> => {
    const bus = await openRedisBus(inject('redisUrl'), () => {});
    const hub = openHub(bus);
    undo.push(() => bus.close());
    undo.push(() => hub.close());
    return { bus, hub };
  };
  const LONG_MS = 60_000;

  it('wakes those whose topic it is, all of them when some was missed, and lets go of who closes', async () => {
    const { bus, hub } = await fakeless();
    const name = `job_${Math.random()}`;
    const woken: string[] = [];
    const wait = (topic: Parameters<typeof hub.watch>[0], label: string) => {
      const watch = hub.watch(topic);
      const next = watch.next(LONG_MS).then(() => woken.push(label));
      return { watch, next };
    };
    const account = wait({ accountId: `acc_${name}` }, 'account');
    const job = wait({ jobId: name }, 'job');
    const events = wait({ eventsOf: name }, 'events');
    expect(hub.watching()).toBe(3);
    bus.publish([{ type: 'live', jobId: name }]);
    await job.next;
    expect(woken).toEqual(['job']);
    bus.publish([{ type: 'job', accountId: `acc_${name}`, jobId: name }]);
    await Promise.all([account.next, events.next]);
    const again = [account, events].map(({ watch }) => watch.next(LONG_MS));
    bus.publish([{ type: 'missed' }]);
    await Promise.all(again);
    for (const { watch } of [account, job, events]) watch.close();
    expect(hub.watching()).toBe(0);
  });

  it('loses no wake-up between two looks, and wakes a stream no more often than anybody could see', async () => {
    const { bus, hub } = await fakeless();
    const jobId = `job_${Math.random()}`;
    const watch = hub.watch({ jobId });
    const heard = listenTo(bus);
    const one = heard.next('live');
    bus.publish([{ type: 'live', jobId }]);
    await one;
    // It came while nobody waited.
    await watch.next(LONG_MS);
    let wakes = 0;
    let done = false;
    const from = performance.now();
    const looking = (async () => {
      for (; !done; wakes++) await watch.next(LONG_MS);
    })();
    for (let i = 0; i < 200; i++) {
      const next = heard.next('live');
      bus.publish([{ type: 'live', jobId }]);
      await next;
    }
    const tookMs = performance.now() - from;
    done = true;
    hub.close();
    await looking;
    expect(wakes).toBeLessThanOrEqual(tookMs / 25 + 3);
    expect(wakes).toBeGreaterThan(0);
  });
});
