// What a chat job says, as it says it: kept in steps, so that a subscriber who was cut off misses and repeats nothing.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import { isConnectionError, persistently } from '../db/transaction.ts';
import { appendDeltas, type DeltaStep } from '../store/deltas.ts';
import type { Announcer } from './announce.ts';

export type AppendStep = (step: DeltaStep) => Promise<void>;

const LIST_MAX = 200;
const PATIENCE_MS = 60_000;

export function openDeltaLog(ctx: Context, announcer: Announcer): AppendStep {
  return groupCommit(
    async (steps: DeltaStep[], forMs) => {
      await persistently(() => appendDeltas(ctx.flow, steps), { forMs, on: isConnectionError });
      crashPoint('delta-stored');
      announcer.wake(steps.map(({ jobId }) => ({ type: 'live', jobId })));
      return steps.map(() => undefined);
    },
    { max: LIST_MAX, inFlight: 2, lane: ({ accountId }) => accountId, patienceMs: PATIENCE_MS },
  );
}

export interface Recorder {
  /** @param delta JSON text of one delta */
  add(delta: string): void;
  /** Resolves once all that was added is stored. @throws if it could not be */
  flushed(): Promise<void>;
}

/** A step is no longer, unless it is a single delta: readers take whole steps. */
const STEP_MAX_BYTES = 64 * 1024;

/** Gathers an attempt's deltas while its last step is being written, and makes them the next one. */
export function recordDeltas(
  append: AppendStep,
  key: { accountId: string; jobId: string; attempt: number },
): Recorder {
  const pending: string[] = [];
  let stored = 0;
  let writing: Promise<void> | null = null;

  // A failure is for good: what came after it would be stored under numbers that are not its own.
  const write = async (): Promise<void> => {
    while (pending.length > 0) {
      const deltas = pending.splice(0, stepLength(pending));
      await append({ ...key, first: stored, count: deltas.length, deltasJson: `[${deltas.join(',')}]` });
      stored += deltas.length;
    }
    writing = null;
  };

  return {
    add(delta) {
      pending.push(delta);
      writing ??= write();
      // Whoever asks whether it is flushed hears of the failure.
      writing.catch(() => {});
    },
    async flushed() {
      await writing;
    },
  };
}

/** How many of the first deltas make a step; at least one. */
function stepLength(deltas: readonly string[]): number {
  let bytes = 0;
  const end = deltas.findIndex((delta) => (bytes += Buffer.byteLength(delta)) > STEP_MAX_BYTES);
  return end === -1 ? deltas.length : Math.max(end, 1);
}
