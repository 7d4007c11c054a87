import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { stopServer } from '../../src/embedded/postgres/server.ts';
import type { Wake } from '../../src/live/bus.ts';
import { openPostgresBus } from '../../src/live/postgres.ts';
import { ask } from '../embedded/folder.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { eventually } from '../support/eventually.ts';

vi.setConfig({ testTimeout: 60_000 });

it('looks for a PostgreSQL that is away one try at a time, and hears again with one ear', async () => {
  const postgres = await startTestPostgres();
  const url = await postgres.createDatabase();
  await migrate(url, () => {});
  const troubles: string[] = [];
  const bus = await openPostgresBus(url, ({ message }) => void troubles.push(message));
  const heard: Wake[] = [];
  bus.subscribe((wake) => heard.push(wake));
  const began = performance.now();
  await stopServer(join(postgres.folder, 'home'), 'fast');
  await eventually(() => troubles.length >= 25, { what: 'it has tried for some time', withinMs: 30_000 });
  // Tries are 200 ms apart and each may say two things; twice as many loops at every try would pass this at once.
  expect(performance.now() - began).toBeGreaterThan(2_000);

  await postgres.restart('fast');
  await eventually(
    () => {
      bus.publish([{ type: 'stop', jobId: 'job_1' }]);
      return heard.length > 0;
    },
    { what: 'a wake-up is heard', withinMs: 20_000 },
  );
  const listening = await ask(
    postgres.superUrl(new URL(url).pathname.slice(1)),
    `select count(*)::int as ears from pg_stat_activity where application_name = 'millrace_bus' and query like 'listen%'`,
  );
  expect(listening).toEqual([{ ears: 1 }]);
  await bus.close();
  await postgres.stop();
});
