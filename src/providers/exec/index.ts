// Engines on the command line as a provider: speech, transcriptions and images made on this very machine. A run costs
// nobody but us and leaves nothing behind, so a stop is certain, and a run that was interrupted is simply repeated.
import { availableParallelism } from 'node:os';
import { engineOf } from '../../domain/engines.ts';
import type { Kind } from '../../domain/job.ts';
import { PROVIDER_KINDS } from '../../domain/providers.ts';
import type { Call, CallKey, CallResult, Provider, Route } from '../provider.ts';
import { failed, stopped } from './failure.ts';
import { findEngines, type FoundEngine, namesOf, type Places } from './find.ts';
import { draw } from './image.ts';
import { findGuards, type Guards, type Limits } from './limits.ts';
import { type Ended, runProgram, unrun } from './program.ts';
import { sweepRooms, takeRoom } from './room.ts';
import { speak } from './speech.ts';
import { transcribe } from './transcription.ts';
import { openTurns, type Turns } from './turns.ts';
import { limitsOf, type Work } from './work.ts';

export interface ExecOptions extends Places {
  /** Where calls have their folders. */
  roomsDir: string;
  /** How many CPUs engines may keep busy; by default all. */
  cpus?: number;
  /** Other limits than the engines' own and those of contract 19. */
  limits?: Partial<Limits>;
}

export interface ExecProvider extends Provider {
  /** What routes may name here and now: `flite`, `flite:slt`, … */
  engines(): string[];
}

interface Machine extends ExecOptions {
  turns: Turns;
  preparing: Turns;
  guards(): Promise<Guards | null>;
}

const WORKS: Partial<Record<Kind, (work: Work) => Promise<CallResult>>> = {
  image: draw,
  tts: speak,
  stt: transcribe,
};

export function execProvider(options: ExecOptions): ExecProvider {
  let guards: Promise<Guards | null> | null = null;
  const machine: Machine = {
    ...options,
    turns: openTurns(options.cpus ?? availableParallelism()),
    preparing: openTurns(1),
    guards: () => (guards ??= findGuards(options.path)),
  };
  const open = new Map<string, { stop: AbortController; result: Promise<CallResult> }>();
  sweepRooms(options.roomsDir);

  const call: Provider['call'] = async (route, asked) => {
    const stop = new AbortController();
    const signal = AbortSignal.any([asked.signal, stop.signal]);
    const result = perform(machine, route, { ...asked, signal });
    const name = nameOf(asked);
    open.set(name, { stop, result });
    return result.finally(() => open.delete(name));
  };
  return {
    name: 'exec',
    kinds: PROVIDER_KINDS.exec,
    engines: () => namesOf(findEngines(options)),
    call,
    async stop(_route, key) {
      const running = open.get(nameOf(key));
      if (!running) return false;
      running.stop.abort('stop');
      const result = await running.result;
      return result.type === 'stopped';
    },
    async close() {
      for (const { stop } of open.values()) stop.abort('close');
      await Promise.allSettled([...open.values()].map(({ result }) => result));
    },
  };
}

const nameOf = ({ jobId, attempt }: CallKey): string => `${jobId}-${attempt}`;

async function perform(machine: Machine, { upstreamModel }: Route, call: Call): Promise<CallResult> {
  const named = engineOf(upstreamModel);
  const found = named && findEngines(machine).get(named.engine);
  const work = WORKS[call.kind];
  if (!named || !found || !work || !has(found, named.variant)) return absent(upstreamModel);
  if (call.signal.aborted) return stopped(null);
  const room = await takeRoom(machine.roomsDir);
  try {
    const { folder } = room;
    const { variant } = named;
    const limits = { ...limitsOf({ found, call }), ...machine.limits };
    return await work({
      found,
      variant,
      call,
      folder,
      preparing: machine.preparing,
      run: (args, stdin) => inTurn(machine, { found, call, folder, limits, args, stdin }),
    });
  } finally {
    await room.leave();
  }
}

const has = ({ variants }: FoundEngine, variant: string | null): boolean =>
  variant === null || variants.has(variant);

/** Nothing was begun, so the platform waits for it as for a vendor that is away (docs/decisions/0013). */
const absent = (upstreamModel: string): CallResult =>
  failed(null, {
    code: 'provider_unavailable',
    retryable: true,
    message: 'The engine is not installed where the job was taken.',
    note: `no ${upstreamModel} on this worker`,
  });

interface Run extends Pick<Work, 'found' | 'call' | 'folder'> {
  limits: Limits;
  args: string[];
  stdin: string | null;
}

async function inTurn(machine: Machine, { found, call, ...run }: Run): Promise<Ended> {
  const guards = await machine.guards();
  const { signal } = call;
  const giveBack = await machine.turns.take(found.engine.threads, signal);
  if (!giveBack) return unrun('stopped');
  try {
    return await runProgram({ ...run, program: found.program, path: machine.path, signal }, guards);
  } finally {
    giveBack();
  }
}
