// Seals everything with the first key of MILLRACE_SECRET_KEY: `npm run reseal`. Then the key before it may go.
import { reseal } from './flow/reseal.ts';
import { openPlatformFor } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

const command = commandLine(
  'npm run reseal --',
  'Seals every secret in the database with the first key of MILLRACE_SECRET_KEY, beside whatever runs, and says whether the others may go. Ends with code 1 while they may not.',
)
  .option('--dry-run', 'look and open, and write nothing')
  .parse();

/** How long a link may last that the API has signed (contract: 7 days). */
const LINKS = 'Links that it has signed end with it, of which the last may be 7 days old.';

await runCommand(async (life) => {
  const { dryRun = false } = command.opts<{ dryRun?: boolean }>();
  const { ctx } = await openPlatformFor(life, { quiet: true, artifacts: false, sim: false });
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const { places, first, others } = await reseal(ctx, {
    dryRun,
    tell: ({ place, resealed, found }) =>
      say(`${place.padEnd(26)} ${resealed} of ${found} ${dryRun ? 'would be' : 'were'} sealed anew`),
  });
  const failures = places.flatMap((place) => place.failures);
  for (const why of failures) process.stderr.write(`millrace: ${why}\n`);
  if (failures.length > 0) return 1;
  if (others.length === 0) {
    say(
      `Everything is sealed with the key ${first}. Any other may leave MILLRACE_SECRET_KEY, if every role has been ` +
        `started with ${first} as the first. ${LINKS}`,
    );
    return 0;
  }
  say(
    dryRun
      ? `Nothing was written. Keys that are still needed besides ${first}: ${others.join(', ')}.`
      : `Something was sealed meanwhile with ${others.join(', ')}: start every role with ${first} as the first key, then run this again.`,
  );
  return dryRun ? 0 : 1;
});
