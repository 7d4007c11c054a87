// What the three kinds of work share: what is asked, of which engine, and how it is run.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Call, CallResult } from '../provider.ts';
import { failureOf, rejected } from './failure.ts';
import type { FoundEngine } from './find.ts';
import type { Limits } from './limits.ts';
import type { Ended } from './program.ts';
import { fill, type Values } from './template.ts';
import type { Turns } from './turns.ts';

export interface Work {
  found: FoundEngine;
  /** The voice or model that the route names; null: the engine's default. */
  variant: string | null;
  call: Call;
  /** The call's own folder. */
  folder: string;
  /** Sound that is made ready for an engine lies whole in memory, so that it is done for one call after the other. */
  preparing: Turns;
  /** Runs the engine when it is its turn. */
  run(args: string[], stdin: string | null): Promise<Ended>;
}

export const isResult = <T extends object>(value: T | CallResult): value is CallResult => 'type' in value;

/** Runs the engine once. A result: it failed, or was stopped, or would have been told what it must not be told. */
export async function runOnce(
  { found, folder, run }: Work,
  { values, stdin = null, out }: { values: Values; stdin?: string | null; out: string },
): Promise<Ended | CallResult> {
  const places = { out: join(folder, out), stem: join(folder, out.replace(/\.\w+$/, '')) };
  let args: string[];
  try {
    const threads = Math.min(found.engine.threads, availableParallelism());
    args = fill(found.engine.args, { threads, ...places, ...values });
  } catch {
    return rejected('The input holds what cannot be handed to the engine.');
  }
  const ended = await run(args, stdin);
  return failureOf(ended) ?? ended;
}

const MB = 1 << 20;
const OUTPUT_MB = { chat: 0, image: 64, tts: 100, stt: 8 };
const MINUTE = 60_000;
/** Those of contract 19. */
const LIMIT_MS = { chat: 0, image: 5 * MINUTE, tts: 5 * MINUTE, stt: 30 * MINUTE };

export function limitsOf({ found: { engine }, call }: Pick<Work, 'found' | 'call'>): Limits {
  return {
    ms: LIMIT_MS[call.kind],
    memoryBytes: engine.memoryMb * MB,
    outputBytes: OUTPUT_MB[call.kind] * MB,
  };
}
