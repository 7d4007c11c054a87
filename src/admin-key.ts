// Makes a new key for the operator: `npm run admin-key`. Whoever may run it has the database and the pepper already.
import { join } from 'node:path';
import { renewAdminKey } from './flow/admin-key.ts';
import { openPlatformFor, readCredentials, writeCredentials } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

const command = commandLine(
  'npm run admin-key --',
  'Makes a new key for /v1/admin and revokes all earlier ones. The key goes into credentials.json, or where that is not in this data folder, to stdout.',
)
  .option('--keep-others', 'leave the earlier keys valid, until the next run without this')
  .parse();

await runCommand(async (life) => {
  const { ctx } = await openPlatformFor(life, { quiet: true, artifacts: false, sim: false });
  const { keepOthers = false } = command.opts<{ keepOthers?: boolean }>();
  const credentials = await readCredentials(ctx.config);
  let told = `The new key is in ${join(ctx.config.dataDir, 'credentials.json')}.`;
  const { revoked } = await renewAdminKey(ctx, {
    keepOthers,
    async hand(token) {
      if (credentials) await writeCredentials(ctx.config, { ...credentials, admin_key: token });
      else told = `The new key, which is shown this once:\n${token}`;
    },
  });
  process.stdout.write(`${told}\n`);
  process.stdout.write(keepOthers ? 'Earlier keys stay valid.\n' : `Revoked: ${revoked}.\n`);
});
