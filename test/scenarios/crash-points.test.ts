// Each named crash point: a process dies just there, and what must be true after recovery is (research: reliability 4.3).
// The other roles run in this process; what dies is a process of its own.
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { removeOrphans } from '../../src/flow/remove-orphans.ts';
import { CRASH_POINTS, type CrashPoint } from '../../src/crash.ts';
import { chat, type Json, openClient } from '../support/client.ts';
import { runNode } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { type BackendName, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type SimCall, simCalls } from '../support/sim-log.ts';
import { spawnApi, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ENV = { LEASE_MS: '1500', SWEEP_MS: '250' };
/** Every point is tried once; this file's last test says so. */
const tried = new Set<CrashPoint>();

class Stage {
  readonly millrace: TestPlatform;
  readonly account: TestAccount;

  constructor(millrace: TestPlatform, account: TestAccount) {
    this.millrace = millrace;
    this.account = account;
  }

  /** A worker of its own process that dies at `point`, of what `meanwhile` makes it do. */
  async workerDies<T>(point: CrashPoint, meanwhile: () => Promise<T>): Promise<T> {
    tried.add(point);
    const worker = await spawnWorker(this.millrace, { env: { ...ENV, CRASH_AT: `${point}:1` } });
    const result = await meanwhile();
    expect(await worker.ended).toBe('SIGKILL');
    return result;
  }

  /** What a client of an API that dies at `point` heard, and what it is told when it asks again elsewhere. */
  async apiDies(
    point: CrashPoint,
    key: string,
  ): Promise<{ heard: Json | null; again: Json; replayed: boolean }> {
    tried.add(point);
    const api = await spawnApi(this.millrace, { ...ENV, CRASH_AT: `${point}:1` });
    const body = chat(key, { stream: false });
    const headers = { 'idempotency-key': key };
    const heard = await openClient(api.url, this.account.key)
      .post('/v1/jobs', body, headers)
      .then(({ body }) => body as Json)
      .catch(() => null);
    expect(await api.ended).toBe('SIGKILL');
    const again = await this.account.post('/v1/jobs', body, headers);
    expect(again.status).toBe(202);
    return { heard, again: again.body, replayed: again.headers['idempotent-replayed'] === 'true' };
  }

  /** A worker that lives takes over; answers the job as it ended. */
  async recovers(id: string): Promise<Json> {
    const worker = await this.millrace.addWorker();
    try {
      return await this.account.ended(id);
    } finally {
      await worker.stop();
    }
  }

  async calls(id: string): Promise<SimCall[]> {
    return (await simCalls(this.millrace.env['SIM_URL'] ?? '')).filter(({ jobId }) => jobId === id);
  }

  async attempts(id: string): Promise<string[]> {
    const rows = await this.millrace.sql<{ outcome: string }>(
      `select coalesce(outcome, 'open') as outcome from attempts where job_id = $1 order by attempt`,
      [id],
    );
    return rows.map(({ outcome }) => outcome);
  }

  /** How often the client was charged for it, and how many jobs its key made. */
  async books(job: { id: string }): Promise<{ captures: number; captured: number; jobs: number }> {
    const [row] = await this.millrace.sql<{ captures: number; captured: number; jobs: number }>(
      `select count(*)::int as captures, coalesce(sum(amount), 0)::int as captured,
        (select count(*)::int from jobs a join jobs b on b.account_id = a.account_id
          and b.idempotency_key is not distinct from a.idempotency_key and (b.id = a.id or a.idempotency_key is not null) where a.id = $1) as jobs
        from ledger_transactions where job_id = $1 and type = 'capture'`,
      [job.id],
    );
    return row ?? { captures: 0, captured: 0, jobs: 0 };
  }

  /** It succeeded, was charged once and is the only one. */
  async endedOnce(job: Json): Promise<void> {
    expect(job).toMatchObject({ status: 'succeeded' });
    expect(await this.books(job)).toEqual({ captures: 1, captured: job.cost.credits, jobs: 1 });
    const { body } = await this.millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
  }
}

/** A platform of this process with an API and, until a test adds one, no worker. */
function onStage(backend: BackendName): () => Stage {
  let stage: Stage;
  beforeAll(async () => {
    const millrace = await startPlatform({ backend, env: ENV, worker: false });
    stage = new Stage(millrace, await millrace.account());
  });
  afterAll(() => stage.millrace.stop());
  return () => stage;
}

const inOne = (text: string, sim: Record<string, unknown> = {}) => chat(text, { stream: false, sim });

describe('on postgres', () => {
  const stage = onStage('postgres');

  it('admit-before-commit: nothing exists, and the key makes one job', async () => {
    const { heard, again, replayed } = await stage().apiDies('admit-before-commit', 'before-commit');
    expect({ heard, replayed }).toEqual({ heard: null, replayed: false });
    await stage().endedOnce(await stage().recovers(again.id));
  });

  it('ring-after: rung perhaps twice, run once', async () => {
    const { heard, again, replayed } = await stage().apiDies('ring-after', 'rung');
    expect(replayed).toBe(true);
    if (heard) expect(again.id).toBe(heard.id);
    await stage().endedOnce(await stage().recovers(again.id));
    expect(await stage().calls(again.id)).toHaveLength(1);
  });

  it('message-taken: the message comes again, at no attempt', async () => {
    // What dead workers left there would be taken first.
    await stage().millrace.sql('delete from bullmq.job');
    const { id } = await stage().workerDies('message-taken', () => stage().account.submit(inOne('taken')));
    expect(await stage().attempts(id)).toEqual([]);
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().attempts(id)).toEqual(['succeeded']);
  });

  it('provider-sent: what became of the call is asked, it is made again, and charged once', async () => {
    const { id } = await stage().workerDies('provider-sent', () =>
      stage().account.submit(inOne('sent', { latency_ms: 1_000 })),
    );
    const job = await stage().recovers(id);
    await stage().endedOnce(job);
    expect(await stage().attempts(id)).toEqual(['interrupted', 'succeeded']);
    expect((await stage().calls(id)).map(({ attempt, billed }) => ({ attempt, billed }))).toEqual([
      { attempt: 1, billed: false },
      { attempt: 2, billed: true },
    ]);
  });

  it('delta-stored: a subscriber is told that the answer begins anew', async () => {
    const { account } = stage();
    const job = await account.submit(chat('one two three four five six', { sim: { latency_ms: 1_500 } }));
    const following = account.events(`/v1/jobs/${job.id}/events`);
    await stage().workerDies('delta-stored', async () => {});
    const ended = await stage().recovers(job.id);
    await stage().endedOnce(ended);
    const events = (await following).map(({ event, data }) => ({ event, ...(JSON.parse(data) as Json) }));
    const reset = events.findIndex(({ event }) => event === 'job.reset');
    expect(events[reset]).toMatchObject({ attempt: 2 });
    const deltas = events.filter(({ event }) => event === 'job.delta');
    expect(events.slice(0, reset).some(({ event }) => event === 'job.delta')).toBe(true);
    // Before the reset only the first attempt's words, after it only the second's, from the start and whole.
    const second = events.slice(reset).filter(({ event }) => event === 'job.delta');
    expect(deltas.length - second.length).toBe(deltas.filter(({ attempt }) => attempt === 1).length);
    expect(second.map(({ attempt, offset }) => `${attempt}.${offset}`)).toEqual(
      second.map((_, i) => `2.${i}`),
    );
    expect(second.map(({ delta }) => delta.content ?? '').join('')).toBe(ended.output.text);
  });

  it('settle-before-commit: the answer that was had is had again from the provider, not paid again', async () => {
    const { id } = await stage().workerDies('settle-before-commit', () =>
      stage().account.submit(inOne('unsettled')),
    );
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().attempts(id)).toEqual(['interrupted', 'succeeded']);
    expect(await stage().calls(id)).toHaveLength(1);
  });

  it('sweep-between: what one sweep took back and did not ring, the next one rings', async () => {
    const { id } = await stage().workerDies('claim-after', () => stage().account.submit(inOne('swept')));
    await stage().workerDies('sweep-between', async () => {});
    expect(await stage().attempts(id)).toEqual(['interrupted']);
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().attempts(id)).toEqual(['interrupted', 'succeeded']);
  });

  it('migrate-half: nothing is left of it, and the next start does it all', async () => {
    tried.add('migrate-half');
    const { millrace } = stage();
    await millrace.sql('create database half_migrated owner millrace template template0');
    const url = new URL(millrace.env['DATABASE_URL'] ?? '');
    url.pathname = '/half_migrated';
    const env = { ...millrace.env, DATABASE_URL: url.href };
    const migrating = runNode(['src/migrate.ts'], { env: { ...env, CRASH_AT: 'migrate-half:1' } });
    expect(await migrating.ended).toBe('SIGKILL');
    expect(await runNode(['src/migrate.ts'], { env }).ended).toBe(0);
    expect(await runNode(['src/audit.ts'], { env }).ended).toBe(0);
    await millrace.sql('drop database half_migrated (force)');
  });
});

describe('on redis', () => {
  const stage = onStage('redis');

  it('admit-after-commit: the job is there, runs, and is what the client is told of when it asks again', async () => {
    const { heard, again, replayed } = await stage().apiDies('admit-after-commit', 'after-commit');
    expect({ heard, replayed }).toEqual({ heard: null, replayed: true });
    await stage().endedOnce(await stage().recovers(again.id));
    expect(await stage().calls(again.id)).toHaveLength(1);
  });

  it('respond-before: asking again names the job that nobody was told of', async () => {
    const { heard, again, replayed } = await stage().apiDies('respond-before', 'unanswered');
    expect({ heard, replayed }).toEqual({ heard: null, replayed: true });
    await stage().endedOnce(await stage().recovers(again.id));
    expect(await stage().calls(again.id)).toHaveLength(1);
  });

  it("claim-after: no call was made, and the job is another worker's once the lease lapses", async () => {
    const { id } = await stage().workerDies('claim-after', () => stage().account.submit(inOne('claimed')));
    expect(await stage().attempts(id)).toEqual(['open']);
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().attempts(id)).toEqual(['interrupted', 'succeeded']);
    expect((await stage().calls(id)).map(({ attempt }) => attempt)).toEqual([2]);
  });

  it('remote-known: work whose name was not kept is found by the key of its attempt', async () => {
    const { id } = await stage().workerDies('remote-known', () =>
      stage().account.submit({
        model: 'sim/image',
        input: { prompt: 'a mill', size: '64x64', sim: { fault: 'async', latency_ms: 3_500 } },
      }),
    );
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().calls(id)).toHaveLength(1);
  });

  it('remote-stored: work whose name was kept is polled for by whoever comes next', async () => {
    const { id } = await stage().workerDies('remote-stored', () =>
      stage().account.submit({
        model: 'sim/image',
        input: { prompt: 'a mill', size: '64x64', sim: { fault: 'async', latency_ms: 3_500 } },
      }),
    );
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().calls(id)).toHaveLength(1);
    expect(await stage().attempts(id)).toEqual(['interrupted', 'succeeded']);
  });

  it('artifact-stored: the job has one artifact, and what was stored for nothing goes', async () => {
    const { id } = await stage().workerDies('artifact-stored', () =>
      stage().account.submit({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } }),
    );
    const job = await stage().recovers(id);
    await stage().endedOnce(job);
    expect(job.output.images).toHaveLength(1);
    expect(await stage().calls(id)).toHaveLength(1);
    const { sql, dataDir, platform } = stage().millrace;
    const rows = await sql<{ id: string }>('select id from artifacts where job_id = $1', [id]);
    expect(rows).toEqual([{ id: job.output.images[0].artifact_id }]);

    // The dead worker's bytes are the same bytes, so they are stored once, and are as young as the second time.
    const [{ key } = { key: '' }] = await sql<{ key: string }>(
      'select storage_key as key from artifacts where job_id = $1',
      [id],
    );
    expect(key).toBe(`${stage().account.id}/${job.output.images[0].sha256}`);
    const objects = join(dataDir, 'artifacts/objects');
    expect(await readdir(join(objects, stage().account.id))).toContain(job.output.images[0].sha256);

    // A worker that died for good leaves bytes that nobody names.
    await platform.ctx.storage.put(`${stage().account.id}/${'0'.repeat(64)}`, Buffer.from('left'));
    // Young ones may yet be named, and it is done once an hour.
    await sql(`delete from settings where name = 'remove_orphans_at'`);
    expect(await removeOrphans(platform.ctx)).toBe(0);
    expect(await removeOrphans(platform.ctx)).toBeNull();
    const dayAgo = Date.now() / 1000 - 86_400;
    for (const name of [key, `${stage().account.id}/${'0'.repeat(64)}`])
      await utimes(join(objects, name), dayAgo, dayAgo);
    await sql(`delete from settings where name = 'remove_orphans_at'`);
    expect(await removeOrphans(platform.ctx)).toBe(1);
    expect((await platform.ctx.storage.read(key)).length).toBe(job.output.images[0].bytes);
  });

  it('settle-after-commit: the message that is left finds nothing to do', async () => {
    const job = await stage().workerDies('settle-after-commit', async () => {
      const { id } = await stage().account.submit(inOne('settled'));
      return stage().account.ended(id as string);
    });
    const { queue } = stage().millrace.platform.ctx;
    expect(await queue.depth('chat')).toBe(1);
    const worker = await stage().millrace.addWorker();
    await eventually(async () => (await queue.depth('chat')) === 0, {
      what: 'the message is done',
      withinMs: 40_000,
    });
    await worker.stop();
    await stage().endedOnce(job);
    expect(await stage().attempts(job.id)).toEqual(['succeeded']);
    expect(await stage().calls(job.id)).toHaveLength(1);
    const [ended] = (await stage().account.events(`/v1/jobs/${job.id}/events`)).slice(-1);
    expect(ended).toMatchObject({ event: 'job.succeeded' });
  });

  it('a job cut off twice is asked after by every attempt: what the first one had is had once', async () => {
    const { id } = await stage().workerDies('settle-before-commit', () =>
      stage().account.submit(inOne('twice')),
    );
    await stage().workerDies('claim-after', async () => {});
    await stage().endedOnce(await stage().recovers(id));
    expect(await stage().attempts(id)).toEqual(['interrupted', 'interrupted', 'succeeded']);
    expect(await stage().calls(id)).toHaveLength(1);
  });

  it('SIGTERM at a crash point is a drain like any other', async () => {
    const worker = await spawnWorker(stage().millrace, {
      env: { ...ENV, CRASH_AT: 'claim-after:1:SIGTERM' },
    });
    const { id } = await stage().account.submit(inOne('drained', { latency_ms: 300 }));
    expect(await worker.ended).toBe(0);
    const job = await stage().account.ended(id as string);
    expect(job).toMatchObject({ status: 'succeeded', attempt: 1 });
  });

  it('in production the variable is nothing', async () => {
    const worker = await spawnWorker(stage().millrace, {
      env: { ...ENV, CRASH_AT: 'claim-after:1', NODE_ENV: 'production' },
    });
    expect(await stage().account.run(inOne('safe'))).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await worker.drain()).toBe(0);
  });

  it('a wrong CRASH_AT is refused at the start, in one line', async () => {
    const line = /^CRASH_AT is "[^\n]*"; it must be name:nth\[:signal\], with a name of: [^\n]*$/;
    for (const wrong of [
      'claim-affter:1',
      'claim-after:0',
      'claim-after:1:SIGNONSENSE',
      'claim-after:1:SIGKILL:x',
    ])
      expect(() => readConfig({ CRASH_AT: wrong })).toThrow(line);
    const env = { ...stage().millrace.env, CRASH_AT: 'claim-affter:1' };
    const worker = runNode(['src/workers/main.ts'], { env });
    expect(await worker.ended).toBe(1);
    expect(worker.err).toEqual([expect.stringMatching(/^millrace: CRASH_AT is "claim-affter:1"; /)]);
  });

  it('every crash point has been tried', () => {
    expect([...tried].toSorted()).toEqual([...CRASH_POINTS].toSorted());
  });
});
