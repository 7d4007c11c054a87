// The log of a process: lines of JSON on stderr. Ids, numbers and our own words; never what clients or vendors sent.
import pino, { type Logger } from 'pino';
import { isConnectionError } from './db/transaction.ts';

export function openLog(level: string): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: faultOf },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** A logger for libraries, whose own finer lines may hold headers and bodies. */
export function quietLog(log: Logger): Logger {
  return log.isLevelEnabled('debug') ? log.child({}, { level: 'info' }) : log;
}

export interface Fault {
  name: string;
  code?: unknown;
  message?: string;
  /** Of an error of PostgreSQL: what it was about. */
  table?: unknown;
  constraint?: unknown;
  stack: string[];
  cause?: Fault;
}

/** An error as the log may know it: without the message where that may quote data, and with its stack as places only. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof Error)) return { name: `not an error but ${typeof error}`, stack: [] };
  const { name, message, stack, cause, code, table, constraint } = error as Error & Record<string, unknown>;
  return {
    name,
    ...(code === undefined ? {} : { code }),
    ...(mayQuote(error) ? {} : { message }),
    ...(table === undefined ? {} : { table }),
    ...(constraint === undefined ? {} : { constraint }),
    // Where we were when a server went away is nobody's fault, and nobody's clue.
    ...(isConnectionError(error) ? {} : { stack: places(stack) }),
    ...(cause === undefined ? {} : { cause: faultOf(cause) }),
  };
}

function places(stack = ''): string[] {
  const lines = stack.split('\n').map((line) => line.trim());
  return lines.filter((line) => line.startsWith('at '));
}

/**
 * JSON.parse repeats what it could not read, PostgreSQL the value it could not take (class 22), Prisma the arguments of
 * the call.
 */
function mayQuote(error: Error): boolean {
  const { code, name } = error as { code?: unknown; name: string };
  return (
    error instanceof SyntaxError || name.startsWith('PrismaClient') || String(code ?? '').startsWith('22')
  );
}
