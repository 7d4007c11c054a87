// Who sweeps.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openSettlement } from '../../src/flow/settle.ts';
import { openSweep, type Sweeper } from '../../src/flow/sweep.ts';
import { chat } from '../support/client.ts';
import { noVendor } from '../support/hands.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false, env: { SWEEP_MS: '60000' } });
});
afterAll(() => millrace.stop());

function sweeper(): Sweeper {
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  return openSweep(ctx, { announcer, settle: openSettlement(ctx, announcer), provider: noVendor });
}

it('one sweeps until it leaves or is gone, and then another does', async () => {
  const account = await millrace.account({ overrides: { slots: 1, line_length: 5 } });
  const ids: string[] = [];
  for (let i = 0; i < 4; i++) ids.push((await account.submit({ ...chat(), expires_in: 60 * (i + 1) })).id);
  const expired = async (): Promise<number> => {
    const [row] = await millrace.sql<{ n: number }>(
      `select count(*)::int as n from jobs where status = 'expired'`,
    );
    return row!.n;
  };
  const due = (minutes: number) =>
    millrace.sql(`update clock set shift = make_interval(mins => $1, secs => 5)`, [minutes]);
  const [first, second] = [sweeper(), sweeper()];
  await first.pass();
  await due(1);
  await second.pass();
  expect(await expired()).toBe(0);
  await first.pass();
  expect(await expired()).toBe(1);
  await first.leave();
  await due(2);
  await second.pass();
  expect(await expired()).toBe(2);
  await due(3);
  await first.pass();
  expect(await expired()).toBe(2);
  // As if the second had been killed, its lease over.
  await millrace.sql(
    `update settings set value = split_part(value, ' ', 1) || ' ' || now() - interval '1 second' where name = 'sweeper'`,
  );
  await first.pass();
  expect(await expired()).toBe(3);
  // As if the server's clock had been set back: a lease that far ahead is nobody's.
  await millrace.sql(`update settings set value = 'x ' || now() + interval '1 day' where name = 'sweeper'`);
  await due(4);
  await second.pass();
  expect(await expired()).toBe(4);
});
