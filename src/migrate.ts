// Brings the database up to date and ends: `npm run migrate`. Without MIGRATE=off every command does the same as it starts.
import { openPlatformFor } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

commandLine(
  'npm run migrate',
  'Brings the database up to date, as every command does when it starts, unless MIGRATE=off; in an empty one it makes the first account and the key of /v1/admin.',
).parse();

await runCommand(async (life) => {
  await openPlatformFor(life, { artifacts: false, sim: false, migrates: true });
  process.stdout.write('The database is up to date.\n');
});
