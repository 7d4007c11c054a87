import type { Ran } from './jobs.ts';

const HEAD = ['job', 'model', 'made by', 'wait', 'run', 'hold', 'cost', 'balance after'];
/** These are words and stand to the left; the others are numbers. */
const WORDS = 3;

/** A line a job: how long it waited and ran, what was held for it, what it cost, what was left. */
export function jobTable(ran: readonly Ran[]): string[] {
  const rows = [HEAD, ...ran.map(row)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, i) => (i < WORDS ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  '),
  );
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [lines[0] ?? '', rule, ...lines.slice(1)];
}

function row({ job, engine, balanceAfter }: Ran): string[] {
  const { id, model, created_at, started_at, ended_at, hold, cost } = job;
  return [
    id,
    model,
    engine,
    span(created_at, started_at),
    span(started_at, ended_at),
    number(hold.credits),
    number(cost?.credits ?? 0),
    number(balanceAfter),
  ];
}

function span(from: string | null, to: string | null): string {
  if (from === null || to === null) return '-';
  const ms = Date.parse(to) - Date.parse(from);
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

export const number = (value: number): string => value.toLocaleString('en-US');
