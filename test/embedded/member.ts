// A process that uses the embedded services of argv[2], told by its parent what to do.
// On SIGTERM or SIGINT it drains as our commands do: what it is at takes its time on the database, then it leaves.
import pg from 'pg';
import type { Embedded } from '../../src/embedded/join.ts';
import { joinEmbedded } from '../../src/embedded/join.ts';

export type Command = 'join' | 'leave' | 'query';
export interface Reply {
  error?: string;
  databaseUrl?: string;
  simUrl?: string;
}

const [, , dataDir = '', simMain = ''] = process.argv;
let embedded: Embedded | null = null;

async function query(text: string): Promise<void> {
  const client = new pg.Client({ connectionString: embedded?.databaseUrl ?? '' });
  await client.connect();
  await client.query(text);
  await client.end();
}

async function obey(command: Command): Promise<Reply> {
  if (command === 'query') await query('select 1');
  if (command === 'leave') await embedded?.leave();
  if (command === 'join')
    embedded = await joinEmbedded({ dataDir, postgres: true, sim: true, log: () => {}, simMain });
  return { databaseUrl: embedded?.databaseUrl ?? '', simUrl: embedded?.simUrl ?? '' };
}

process.on('message', async (command: Command) => {
  const reply = await obey(command).catch((error: unknown) => ({ error: String(error) }));
  process.send?.(reply);
});

async function drain(): Promise<void> {
  await query('select pg_sleep(0.3)');
  const healthy = await fetch(`${embedded?.simUrl}/healthz`);
  await embedded?.leave();
  process.exit(healthy.ok ? 0 : 1);
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => void drain().catch(() => process.exit(2)));
}
process.once('disconnect', () => process.exit(0));
