// Makes a new key for the operator: `npm run admin-key`. Whoever may run it has the database and the pepper already.
import { join } from 'node:path';
import { renewAdminKey } from './flow/admin-key.ts';
import { knownKey } from './flow/known-key.ts';
import { openPlatformFor, readCredentials, writeCredentials } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

const command = commandLine(
  'npm run admin-key --',
  'Makes a new key for /v1/admin and revokes all earlier ones. The key goes into credentials.json, or where this data folder has none of this database, to stdout.',
)
  .option('--keep-others', 'leave the earlier keys valid, until the next run without this')
  .parse();

await runCommand(async (life) => {
  const { ctx } = await openPlatformFor(life, { quiet: true, artifacts: false, sim: false });
  const { keepOthers = false } = command.opts<{ keepOthers?: boolean }>();
  const path = join(ctx.config.dataDir, 'credentials.json');
  const credentials = await readCredentials(ctx.config);
  // Another database's file, which DATABASE_URL leads past, keeps that one's key.
  const ours = credentials && (await knownKey(ctx, credentials.admin_key)) !== null;
  let told = `The new key is in ${path}.`;
  const { revoked } = await renewAdminKey(ctx, {
    keepOthers,
    async hand(token) {
      if (ours) await writeCredentials(ctx.config, { ...credentials, admin_key: token });
      else told = `The new key, which is shown this once:\n${token}`;
      if (ours === false) told += `\n${path} is of another database and stays as it is.`;
    },
  });
  process.stdout.write(`${told}\n`);
  process.stdout.write(keepOthers ? 'Earlier keys stay valid.\n' : `Revoked: ${revoked}.\n`);
});
