// Recomputes the books and says what it found: `npm run audit [-- --json]`. Exit code 1 on a breach.
import { audit } from './flow/audit.ts';
import { openPlatformFor } from './platform.ts';
import { commandLine, runCommand } from './process.ts';

/** The numbers are those of docs/invariants.md, with which a reader will look for the rest. */
const ELSEWHERE = 'I3, I6 to I9 are not in the books: tests hold them from outside, see docs/invariants.md.';

const command = commandLine(
  'npm run audit --',
  'Recomputes every balance, lot and slot from what was written down. Ends with code 1 if anything differs.',
)
  .option(
    '--since-checkpoint',
    'of each account only what came after the last audit that found it right; quick, and blind to what was spoiled before',
  )
  .option('--json', 'print the whole report as JSON')
  .parse();

await runCommand(async (life) => {
  const platform = await openPlatformFor(life, { quiet: true, sim: false });
  const { json = false, sinceCheckpoint = false } = command.opts<{
    json?: boolean;
    sinceCheckpoint?: boolean;
  }>();
  const report = await audit(platform.ctx, { from: sinceCheckpoint ? 'checkpoints' : 'nothing' });
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : table(report));
  return report.ok ? 0 : 1;
});

function table(report: Awaited<ReturnType<typeof audit>>): string {
  const lines = report.invariants.map(({ id, says, rows, breaches }) => {
    const verdict = breaches === 0 ? 'ok' : `${breaches} BREACHES`;
    return `${id.padEnd(4)} ${verdict.padEnd(12)} ${String(rows).padStart(9)} rows  ${says}`;
  });
  lines.push(ELSEWHERE);
  const found = report.breaches.map(
    ({ invariant, account_id, subject, what }) => `${invariant} ${account_id} ${subject}: ${what}`,
  );
  const { accounts, resumed, unnamedAsOf } = report.covered;
  const asOf = unnamedAsOf ? `judged as of ${unnamedAsOf.toISOString()}, the last removal` : 'not judged';
  const verdict = report.ok ? 'All invariants hold' : 'INVARIANTS ARE BROKEN';
  const extent = `${accounts} accounts${resumed > 0 ? ` (${resumed} since their checkpoints)` : ''}, ${report.rows} rows`;
  return `${[...lines, ...found, `Bytes that nobody names: ${asOf}.`, `${verdict}: ${extent}.`].join('\n')}\n`;
}
