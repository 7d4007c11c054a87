// The operator's key made anew, by the command an operator has.
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeKey } from '../../src/domain/api-key.ts';
import { renewAdminKey } from '../../src/flow/admin-key.ts';
import { openClient } from '../support/client.ts';
import { type Command, runNode } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { BACKENDS, startPlatform, type TestPlatform } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe.each(BACKENDS)('npm run admin-key beside a platform on %s', (backend) => {
  let millrace: TestPlatform;
  beforeAll(async () => {
    millrace = await startPlatform({ backend, worker: false });
  });
  afterAll(() => millrace.stop());

  const file = () => join(millrace.dataDir, 'credentials.json');
  const credentials = async () => JSON.parse(await readFile(file(), 'utf8')) as Record<string, string>;
  const admin = async () => (await credentials())['admin_key'] as string;
  const look = (key: string) => openClient(millrace.url, key).get('/v1/admin/models');
  async function renew(...args: string[]): Promise<Command> {
    const command = runNode(['src/admin-key.ts', ...args], { env: millrace.env });
    expect(await command.ended, command.err.join('\n')).toBe(0);
    return command;
  }
  const refused = (key: string) =>
    eventually(async () => (await look(key)).status === 401, {
      // Sooner than a process forgets a key by itself.
      what: 'the API has heard of it',
      withinMs: 5_000,
    });

  it('writes a new key into credentials.json, and the earlier one is refused', async () => {
    const before = await credentials();
    const old = await admin();
    expect((await look(old)).status).toBe(200);
    const command = await renew();
    const fresh = await admin();
    expect(fresh).toMatch(/^mr_admin_/);
    expect(await credentials()).toEqual({ ...before, admin_key: fresh });
    expect((await stat(file())).mode & 0o777).toBe(0o600);
    expect(command.out).toEqual([`The new key is in ${file()}.`, 'Revoked: 1.']);
    expect((await look(fresh)).status).toBe(200);
    await refused(old);
    expectRefusal(await look(old), 'api_key_invalid');
    const [deed] = await millrace.sql(
      `select actor, details from audit_log where action = 'admin_key.renew' order by created_at desc limit 1`,
    );
    expect(deed).toEqual({ actor: 'npm run admin-key', details: { revoked: 1 } });
  });

  it('leaves earlier keys valid if asked to, until it is not', async () => {
    const first = await admin();
    await renew('--keep-others');
    const second = await admin();
    for (const key of [first, second]) expect((await look(key)).status).toBe(200);
    const command = await renew();
    expect(command.out.at(-1)).toBe('Revoked: 2.');
    for (const key of [first, second]) await refused(key);
    expect((await look(await admin())).status).toBe(200);
  });

  it('leaves one valid of two that are made at once', async () => {
    const { ctx } = millrace.platform;
    const tokens: string[] = [];
    const make = (hand: () => Promise<unknown>) =>
      renewAdminKey(ctx, {
        keepOthers: false,
        hand: async (token) => {
          tokens.push(token);
          await hand();
        },
      });
    let second: Promise<unknown> | null = null;
    await make(async () => {
      second = make(async () => {});
      const waits = eventually(
        async () =>
          (
            await millrace.sql(
              `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
            )
          ).length === 1,
        { what: 'the second waits', withinMs: 10_000 },
      );
      await Promise.race([second, waits]);
    });
    await second;
    const [left] = await millrace.sql(
      `select count(*)::int as keys, min(last4) as last4 from api_keys where mode = 'admin' and revoked_at is null`,
    );
    expect(left).toEqual({ keys: 1, last4: tokens[1]!.slice(-4) });
    await writeFile(file(), JSON.stringify({ ...(await credentials()), admin_key: tokens[1] }));
  });

  it('prints the key where credentials.json is of another database, and leaves that as it is', async () => {
    const ours = await credentials();
    const theirs = { ...ours, admin_key: makeKey('admin').token };
    await writeFile(file(), JSON.stringify(theirs));
    const { out } = await renew();
    expect(await credentials()).toEqual(theirs);
    expect(out[0]).toBe('The new key, which is shown this once:');
    expect(out[2]).toBe(`${file()} is of another database and stays as it is.`);
    expect((await look(out[1] ?? '')).status).toBe(200);
    await writeFile(file(), JSON.stringify({ ...ours, admin_key: out[1] }));
  });

  it('prints the key where there is no credentials.json to hold it', async () => {
    await rm(file());
    const { out } = await renew();
    expect(out[0]).toBe('The new key, which is shown this once:');
    expect((await look(out[1] ?? '')).status).toBe(200);
  });
});
