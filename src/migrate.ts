// Brings the database up to date and ends: `npm run migrate`. Every command does the same as it starts.
import { openPlatformFor } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

commandLine(
  'npm run migrate',
  'Brings the database up to date, as every command does when it starts.',
).parse();

await runCommand(async (life) => {
  await openPlatformFor(life, { artifacts: false, sim: false });
  process.stdout.write('The database is up to date.\n');
});
