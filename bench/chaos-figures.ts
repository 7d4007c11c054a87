// A run in numbers, and which promises it broke.
import type { Cutting } from './chaos-scenes.ts';
import type { Run } from './chaos-run.ts';
import { median } from './load.ts';

/** What is promised. */
export const LIMITS = {
  rerun_s_after_a_kill: 15,
  taken_s_after_a_wipe: 30,
  in_flight_at_a_wipe: 200,
} as const;

export type Figures = ReturnType<typeof figuresOf>;

export function figuresOf(run: Run) {
  const { verdict, audit, ...rest } = run.reckoning;
  return {
    kills: {
      worker: cuttings(run.worker),
      api: {
        kills: run.api.length,
        ...openCalls(run.api),
        calls_cut: sum(run.api.map(({ cutCalls }) => cutCalls)),
        requests_repeated: sum(run.api.map(({ repeated }) => repeated)),
        of_these_already_accepted: sum(run.api.map(({ unheard }) => unheard)),
        ...spread(
          'all_accepted_s',
          run.api.map(({ answeredSeconds }) => answeredSeconds),
        ),
      },
      everything: cuttings(run.everything),
    },
    wipes: run.wipes.map(({ inFlight, waiting, line, ms }) => ({
      in_flight: inFlight,
      waiting_for_a_worker: waiting,
      in_line: line,
      all_taken_s: round(ms / 1000),
    })),
    restarts: run.restarts.map(({ mode, open, cutCalls, acceptsSeconds, settlesSeconds }) => ({
      mode,
      open_calls: open,
      calls_cut: cutCalls,
      accepts_again_s: round(acceptsSeconds),
      settles_again_s: round(settlesSeconds),
    })),
    jobs: {
      accepted: verdict.jobs,
      ended: verdict.jobs - verdict.lost.length,
      lost: verdict.lost.length,
      not_successful: verdict.unsuccessful.length,
      charged_twice_or_wrongly: verdict.misCharged.length,
      keys_with_two_jobs: verdict.twins.length,
      no_client_knows: rest.unknown,
      requests_repeated: rest.repeats,
      of_these_already_accepted: rest.unheard,
    },
    calls: {
      made: rest.calls,
      cut: rest.cutCalls,
      never_made_again: rest.neverAgain,
      slowest_made_again_s: round(rest.slowestAgainSeconds),
      of_one_attempt_twice: verdict.doubleCalls.length,
      jobs_billed_twice_by_the_vendor: verdict.doubleBilled.length,
    },
    audit: { ok: audit.ok, rows: audit.rows, breaches: audit.breaches.length },
    errors_logged: rest.errors,
    minutes: round(run.minutes),
    promises_broken: promisesBroken(run),
  };
}

/** One line for each promise that does not hold; none if all do. */
export function promisesBroken({ worker, everything, wipes, reckoning }: Run): string[] {
  const { verdict, audit, unknown, neverAgain, slowestAgainSeconds } = reckoning;
  const slow = (name: string, cuts: readonly Cutting[]): string[] =>
    cuts.flatMap(({ rerunSeconds }, i) => {
      const last = Math.max(...rerunSeconds);
      return last > LIMITS.rerun_s_after_a_kill
        ? [`${name} kill ${i + 1}: run again after ${round(last)} s`]
        : [];
    });
  const some = (what: string, ids: readonly string[]): string[] =>
    ids.length > 0 ? [`${what}: ${ids.length}, such as ${ids[0]}`] : [];
  return [
    ...slow('worker', worker),
    ...slow('everything', everything),
    ...wipes
      .filter(({ ms }) => ms > LIMITS.taken_s_after_a_wipe * 1000)
      .map(({ ms }) => `a wipe: all taken after ${round(ms / 1000)} s`),
    ...some('accepted jobs that did not end', verdict.lost),
    ...some('jobs that did not succeed', verdict.unsuccessful),
    ...some('jobs charged twice or wrongly', verdict.misCharged),
    ...some('keys with two jobs', verdict.twins),
    ...some('attempts that called twice', verdict.doubleCalls),
    ...(unknown === 0 ? [] : [`${unknown} jobs that no client knows`]),
    ...(neverAgain === 0 ? [] : [`${neverAgain} calls were cut off and never made again`]),
    ...(slowestAgainSeconds > LIMITS.rerun_s_after_a_kill
      ? [`a call that was cut off was made again after ${round(slowestAgainSeconds)} s`]
      : []),
    ...(audit.ok ? [] : [`the audit found ${audit.breaches.length} breaches`]),
  ];
}

function cuttings(cuts: readonly Cutting[]) {
  const seconds = cuts.flatMap(({ rerunSeconds }) => rerunSeconds);
  return {
    kills: cuts.length,
    ...openCalls(cuts),
    calls_cut: seconds.length,
    ...spread('rerun_s', seconds),
    ...spread(
      'processes_back_s',
      cuts.map(({ backSeconds }) => backSeconds),
    ),
  };
}

function openCalls(kills: readonly { open: number }[]) {
  const open = kills.map((kill) => kill.open);
  return { open_calls_min: Math.min(...open), open_calls_p50: median(open) };
}

const spread = (name: string, values: readonly number[]): Record<string, number> => ({
  [`${name}_p50`]: round(median(values)),
  [`${name}_max`]: round(Math.max(...values)),
});

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const round = (value: number): number => Math.round(value * 10) / 10;
