// Named places where a test may end the process (CRASH_AT=name:nth[:signal]), to prove that what was begun there is
// finished by others. In production mode the variable is ignored.
import { constants } from 'node:os';

export const CRASH_POINTS = [
  'admit-before-commit',
  'admit-after-commit',
  'ring-after',
  'respond-before',
  'message-taken',
  'claim-after',
  'provider-sent',
  'remote-known',
  'remote-stored',
  'delta-stored',
  'artifact-stored',
  'settle-before-commit',
  'settle-after-commit',
  'sweep-between',
  'migrate-half',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

export interface CrashAt {
  name: CrashPoint;
  /** The how-manieth time it is passed: 1 is the first. */
  nth: number;
  signal: NodeJS.Signals;
}

let armed: CrashAt | null = null;
let left = 0;

/** Once, as a process starts. */
export function armCrashPoint(crashAt: CrashAt | null): void {
  armed = crashAt;
  left = crashAt?.nth ?? 0;
}

/** Ends the process the nth time it comes by, if CRASH_AT says so. */
export function crashPoint(name: CrashPoint): void {
  if (armed?.name !== name || --left !== 0) return;
  process.kill(process.pid, armed.signal);
}

/** The same, once what is being done at present has been handed to the kernel. */
export function crashPointSoon(name: CrashPoint): void {
  if (armed?.name === name) setImmediate(crashPoint, name);
}

/** @throws Error if it names no crash point, or no signal */
export function parseCrashAt(text: string): CrashAt {
  const [name, nth = '1', signal = 'SIGKILL', ...rest] = text.split(':');
  const known = CRASH_POINTS.find((point) => point === name);
  if (!known || !/^[1-9]\d{0,8}$/.test(nth) || !(signal in constants.signals) || rest.length > 0) {
    throw new Error(
      `CRASH_AT is "${text}"; it must be name:nth[:signal], with a name of: ${CRASH_POINTS.join(', ')}.`,
    );
  }
  return { name: known, nth: Number(nth), signal: signal as NodeJS.Signals };
}
