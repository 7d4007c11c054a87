// Recomputes the books and says what it found: `npm run audit [-- --json]`. Exit code 1 on a breach.
import { audit } from './flow/audit.ts';
import { openPlatform } from './platform.ts';
import { runCommand } from './process.ts';

await runCommand(async () => {
  const platform = await openPlatform({ quiet: true });
  const report = await audit(platform.ctx);
  await platform.ctx.close();
  await platform.leave();
  process.stdout.write(
    process.argv.includes('--json') ? `${JSON.stringify(report, null, 2)}\n` : table(report),
  );
  process.exit(report.ok ? 0 : 1);
});

function table(report: Awaited<ReturnType<typeof audit>>): string {
  const lines = report.invariants.map(({ id, says, rows, breaches }) => {
    const verdict = breaches === 0 ? 'ok' : `${breaches} BREACHES`;
    return `${id.padEnd(4)} ${verdict.padEnd(12)} ${String(rows).padStart(9)} rows  ${says}`;
  });
  const found = report.breaches.map(
    ({ invariant, account_id, subject, what }) => `${invariant} ${account_id} ${subject}: ${what}`,
  );
  const verdict = report.ok ? 'All invariants hold' : 'INVARIANTS ARE BROKEN';
  return `${[...lines, ...found, `${verdict}: ${report.accounts} accounts, ${report.rows} rows.`].join('\n')}\n`;
}
