// A run's figures for people.
import { type Figures, LIMITS } from './chaos-figures.ts';

export function tableOf(backend: string, figures: Figures): string {
  const { kills, wipes, restarts, jobs, calls, audit, errors_logged, promises_broken } = figures;
  const cut = ({ rerun_s_p50, rerun_s_max }: Record<string, number>): string =>
    `${rerun_s_p50} / ${rerun_s_max}`;
  const killed = (name: string, row: Record<string, number>, again: string): string[] => [
    name,
    String(row['kills']),
    `${row['open_calls_min']} / ${row['open_calls_p50']}`,
    String(row['calls_cut']),
    again,
  ];
  const blocks = [
    grid([
      ['kill -9', 'times', 'calls open min / median', 'calls cut', 'run again p50 / max, s'],
      killed('worker', kills.worker, cut(kills.worker)),
      killed('API', kills.api, '-'),
      killed('everything', kills.everything, cut(kills.everything)),
    ]),
    grid([
      ['wiped with', 'of them waiting', 'in line behind', 'all taken after, s'],
      ...wipes.map((row) => [row.in_flight, row.waiting_for_a_worker, row.in_line, row.all_taken_s]),
    ]),
    grid([
      ['PostgreSQL restarted', 'calls open', 'calls cut', 'accepts after, s', 'settles after, s'],
      ...restarts.map((row) => [
        row.mode,
        row.open_calls,
        row.calls_cut,
        row.accepts_again_s,
        row.settles_again_s,
      ]),
    ]),
    grid([
      ['jobs accepted', 'ended', 'lost', 'not successful', 'charged twice or wrongly', 'doubled', 'unknown'],
      [
        jobs.accepted,
        jobs.ended,
        jobs.lost,
        jobs.not_successful,
        jobs.charged_twice_or_wrongly,
        jobs.keys_with_two_jobs,
        jobs.no_client_knows,
      ],
    ]),
    [
      `${calls.made} calls, ${calls.cut} cut off, the last of them made again after ${calls.slowest_made_again_s} s; ` +
        `${calls.jobs_billed_twice_by_the_vendor} jobs that the vendor billed twice.`,
      `${jobs.requests_repeated} requests were repeated, and ${jobs.of_these_already_accepted} of them had made their job before.`,
      `The audit: ${audit.ok ? 'all invariants hold' : `${audit.breaches} BREACHES`}, ${audit.rows} rows.`,
      ...Object.entries(errors_logged).map(([text, times]) => `Logged as an error ${times} times: ${text}`),
    ],
    promises_broken.length === 0
      ? [
          `All promises held (${LIMITS.rerun_s_after_a_kill} s after a kill, ${LIMITS.taken_s_after_a_wipe} s after a wipe).`,
        ]
      : promises_broken.map((promise) => `BROKEN: ${promise}`),
  ];
  return `\n${backend}\n\n${blocks.map((lines) => lines.map((line) => `  ${line}\n`).join('')).join('\n')}`;
}

function grid(rows: readonly (readonly (string | number)[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => String(row[i]).length)));
  return rows.map((row) =>
    row
      .map((cell, i) => String(cell).padEnd(widths[i] ?? 0))
      .join('   ')
      .trimEnd(),
  );
}
