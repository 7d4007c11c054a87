// Brings the database up to date and ends: `npm run migrate`. Every command does the same as it starts.
import { openPlatform } from './platform.ts';
import { runCommand } from './process.ts';

await runCommand(async () => {
  const platform = await openPlatform();
  await platform.ctx.close();
  await platform.leave();
  process.stdout.write('The database is up to date.\n');
  process.exit();
});
