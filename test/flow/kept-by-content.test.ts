// Equal bytes of an account are stored once: whoever deletes one of their artifacts, or outlives it, takes nothing from another.
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { linkSignature } from '../../src/api/links.ts';
import { audit } from '../../src/flow/audit.ts';
import { removeOrphans } from '../../src/flow/remove-orphans.ts';
import { endRetention } from '../../src/flow/retention.ts';
import { PLACES, type Placed, startOn } from '../support/on-storage.ts';
import type { TestAccount } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';

const DAY_MS = 86_400_000;

describe.each(PLACES)('artifacts on %s', (place) => {
  let millrace: Placed;
  let account: TestAccount;
  beforeAll(async () => {
    // What is swept here is swept by the test.
    millrace = await startOn(place, { env: { SWEEP_MS: '60000' } });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());
  beforeEach(async () => {
    await millrace.sql(`delete from settings where name in ('remove_orphans_at', 'remove_orphans_done')`);
    await millrace.sql(`update clock set shift = interval '0'`);
  });

  const upload = async (client: TestAccount, text: string) => {
    const body = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${text}\r\n--x--\r\n`;
    const answer = await client.post('/v1/artifacts', body, {
      'content-type': 'multipart/form-data; boundary=x',
    });
    expect(answer.status).toBe(201);
    return answer.body as { id: string; sha256: string; expires_at: string | null; created_at: string };
  };
  const remove = (client: TestAccount, id: string) => client.send('DELETE', `/v1/artifacts/${id}`);
  const content = async (client: TestAccount, id: string): Promise<string> => {
    const headers = { authorization: `Bearer ${client.key}` };
    const answer = await fetch(`${millrace.url}/v1/artifacts/${id}/content`, { headers });
    return answer.status === 200 ? answer.text() : String(answer.status);
  };
  const keys = async (client: TestAccount): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of millrace.platform.ctx.storage.list())
      if (key.startsWith(client.id)) found.push(key);
    return found;
  };
  /** Once what was deleted has been so for a while: whoever had just found it is done with it. */
  const sweep = async (storage = millrace.platform.ctx.storage) => {
    await millrace.sql(`update artifacts set deleted_at = deleted_at - interval '6 minutes'`);
    return removeOrphans({ ...millrace.platform.ctx, storage });
  };

  it('with equal bytes have them once, until the last of them is gone', async () => {
    const text = randomBytes(20).toString('hex');
    const other = await millrace.account();
    const [one, two, others] = [
      await upload(account, text),
      await upload(account, text),
      await upload(other, text),
    ];
    const key = `${account.id}/${createHash('sha256').update(text).digest('hex')}`;
    expect(await keys(account)).toEqual([key]);
    expect(await keys(other)).toHaveLength(1);
    await millrace.grow(key, 23);
    expect((await remove(account, one.id)).status).toBe(204);
    expect(await sweep()).toBe(0);
    expectRefusal(await account.get(`/v1/artifacts/${one.id}/content`), 'data_deleted');
    expect(await content(account, two.id)).toBe(text);
    await remove(account, two.id);
    await millrace.sql(`delete from settings where name = 'remove_orphans_at'`);
    expect(await sweep()).toBe(1);
    expect(await keys(account)).toEqual([]);
    expect(await content(other, others.id)).toBe(text);
  });

  it('keep bytes that were put again just before nobody would have named them', async () => {
    const text = randomBytes(20).toString('hex');
    const { id, sha256 } = await upload(account, text);
    const key = `${account.id}/${sha256}`;
    await millrace.grow(key, 23);
    await remove(account, id);
    // Put, and not named yet, between the list and the removal.
    const { storage } = millrace.platform.ctx;
    const late = {
      ...storage,
      age: async (asked: string) => {
        if (asked === key) await (await storage.stage(Buffer.from(text))).keep(account.id);
        return storage.age(asked);
      },
    };
    expect(await sweep(late)).toBe(0);
    const again = await upload(account, text);
    expect(await content(account, again.id)).toBe(text);
  });

  if (place === 's3 that clients reach')
    it('are sent on to for no longer than a link is good', async () => {
      const { id } = await upload(account, 'linked');
      const expires = Math.floor(Date.now() / 1000) + 20;
      const signature = linkSignature(millrace.platform.ctx.secrets.keys, { id, expires });
      const url = `${millrace.url}/v1/artifacts/${id}/content?expires=${expires}&signature=${signature}`;
      const { status, headers } = await fetch(url, { redirect: 'manual' });
      expect(status).toBe(302);
      const seconds = Number(new URL(headers.get('location')!).searchParams.get('X-Amz-Expires'));
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(20);
    });

  it('of a job say when they go, by the plan of its account, and go then', async () => {
    const free = await millrace.account({ plan: 'free' });
    const job = await free.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
    const [image] = job.output.images;
    const { body: row } = await free.get(`/v1/artifacts/${image.artifact_id}`);
    expect(row.expires_at).toBe(image.expires_at);
    const days = (Date.parse(image.expires_at) - Date.parse(job.ended_at)) / DAY_MS;
    expect(days).toBeCloseTo(7, 3);
    const [event] = await millrace.sql<{ body: string }>(
      `select body from events where job_id = $1 and type = 'job.succeeded'`,
      [job.id],
    );
    expect(JSON.parse(event!.body).data.output).toEqual(job.output);
    expect(event!.body).not.toMatch(/signature|X-Amz/i);

    await millrace.sql(`update clock set shift = interval '6 days 23 hours'`);
    await endRetention(millrace.platform.ctx);
    expect((await free.get(`/v1/artifacts/${image.artifact_id}`)).status).toBe(200);
    await millrace.sql(`update clock set shift = interval '7 days 1 minute'`);
    await endRetention(millrace.platform.ctx);
    const gone = await free.get(`/v1/artifacts/${image.artifact_id}/content`);
    expectRefusal(gone, 'data_deleted');
    expect(gone.body.message).toBe('The artifact is past its retention.');
    const [key] = await keys(free);
    await millrace.grow(key!, 7 * 24);
    expect(await sweep()).toBe(1);
    expect(await keys(free)).toEqual([]);
    expect(await audit(millrace.platform.ctx)).toMatchObject({ ok: true, breaches: [] });
  });

  it('past their time take nothing from those with more', async () => {
    const text = randomBytes(20).toString('hex');
    const short = await millrace.account({ overrides: { retention_days: 1 } });
    const first = await upload(short, text);
    expect((Date.parse(first.expires_at ?? '') - Date.parse(first.created_at)) / DAY_MS).toBe(1);
    await millrace.sql(`update clock set shift = interval '20 hours'`);
    const second = await upload(short, text);
    await millrace.sql(`update clock set shift = interval '25 hours'`);
    await endRetention(millrace.platform.ctx);
    await millrace.grow(`${short.id}/${first.sha256}`, 25);
    expect(await sweep()).toBe(0);
    expect([await content(short, first.id), await content(short, second.id)]).toEqual(['410', text]);
  });

  it('are kept where the plan names no time', async () => {
    await millrace.sql(`update plans set terms = terms - 'retention_days' where id = 'scale'`);
    await millrace.platform.ctx.refreshCatalogue();
    const keeper = await millrace.account({ plan: 'scale' });
    expect((await upload(keeper, 'for ever')).expires_at).toBeNull();
  });

  it('of earlier days stay where their rows say', async () => {
    const { storage } = millrace.platform.ctx;
    const { id } = await upload(account, 'placeholder');
    const key = `${account.id}/${id}`;
    await storage.put(key, Buffer.from('of old'));
    await millrace.sql('update artifacts set storage_key = $2, sha256 = $3, bytes = 6 where id = $1', [
      id,
      key,
      createHash('sha256').update('of old').digest('hex'),
    ]);
    await millrace.grow(key, 1_000);
    await sweep();
    expect(await content(account, id)).toBe('of old');
    await remove(account, id);
    await millrace.sql(`delete from settings where name = 'remove_orphans_at'`);
    expect(await sweep()).toBe(1);
    expect(await storage.age(key)).toBeNull();
  });
});
