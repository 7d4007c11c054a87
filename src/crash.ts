// Named places where a test may end the process (CRASH_AT=name:nth[:signal]), to prove that what was begun there is
// finished by others. In production mode the variable is ignored.

export const CRASH_POINTS = [
  'admit-before-commit',
  'admit-after-commit',
  'ring-after',
  'respond-before',
  'message-taken',
  'claim-after',
  'provider-sent',
  'remote-known',
  'delta-stored',
  'artifact-stored',
  'settle-before-commit',
  'settle-after-commit',
  'sweep-between',
  'migrate-half',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

const armed = process.env['NODE_ENV'] === 'production' ? null : parse(process.env['CRASH_AT']);

/** Ends the process the nth time it comes by, if CRASH_AT says so. */
export function crashPoint(name: CrashPoint): void {
  if (armed?.name !== name || --armed.left > 0) return;
  process.kill(process.pid, armed.signal);
}

function parse(text: string | undefined): { name: CrashPoint; left: number; signal: NodeJS.Signals } | null {
  if (!text) return null;
  const [name, nth = '1', signal = 'SIGKILL'] = text.split(':');
  if (!CRASH_POINTS.includes(name as CrashPoint) || !/^[1-9]\d*$/.test(nth)) {
    throw new Error(
      `CRASH_AT is "${text}"; it must be name:nth[:signal], with a name of: ${CRASH_POINTS.join(', ')}.`,
    );
  }
  return { name: name as CrashPoint, left: Number(nth), signal: signal as NodeJS.Signals };
}
