// What every command shares: its help, how it says that it failed, and how it ends.
import { Command } from 'commander';
import { type Role, variablesOf } from './config.ts';

/** The longest a process takes to end after SIGTERM. */
const EXIT_WITHIN_MS = 25_000;
/** npm hands on the Ctrl-C that the terminal has sent us already, and `timeout` signals twice: that is one wish. */
const SAME_WISH_MS = 1_000;

interface Log {
  info(line: string): void;
  error(context: object, line: string): void;
}

/** From a command's start to its end. */
export interface Life {
  /** Runs `close` at the end, however the end comes. What was deferred last is closed first. */
  defer(close: () => Promise<unknown>): void;
  /** Resolves when the process is asked to stop: by SIGTERM, SIGINT, SIGHUP, or by a bug that nobody caught. */
  untilStopped(log: Log): Promise<void>;
}

/**
 * Runs `main`, closes what it deferred, and ends the process with the code it answers (0). An error becomes one line and
 * code 1. A signal that comes during the start waits for it, since what is half started cannot be closed.
 */
export async function runCommand(main: (life: Life) => Promise<number | void>): Promise<never> {
  const life = new CommandLife();
  let code = 0;
  try {
    code = (await main(life)) ?? 0;
  } catch (error) {
    code = complain(error);
  }
  try {
    await life.close();
  } catch (error) {
    code = complain(error);
  }
  life.end();
  process.exit(life.failed ? 1 : code);
}

function complain(error: unknown): 1 {
  process.stderr.write(`millrace: ${(error as Error).message}\n`);
  if (process.env['LOG_LEVEL'] === 'debug') process.stderr.write(`${(error as Error).stack}\n`);
  return 1;
}

class CommandLife implements Life {
  failed = false;
  readonly #closers: (() => Promise<unknown>)[] = [];
  readonly #stop = Promise.withResolvers<void>();
  #askedAt: number | null = null;
  #log: Log | null = null;

  constructor() {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.on(signal, () => this.#ask(signal));
    // A bug must not leave a process that does half its work: it drains, and others go on.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(event, (error: unknown) => {
        this.failed = true;
        if (this.#log) this.#log.error({ err: error }, event);
        else complain(error);
        if (this.#askedAt === null) this.#ask(event);
      });
    }
  }

  defer(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }

  async untilStopped(log: Log): Promise<void> {
    this.#log = log;
    await this.#stop.promise;
  }

  /** Closes all, whatever goes wrong on the way. @throws the first thing that did */
  async close(): Promise<void> {
    const wrong: unknown[] = [];
    for (const close of this.#closers.toReversed())
      await close().catch((error: unknown) => wrong.push(error));
    if (wrong.length > 0) throw wrong[0];
  }

  /** The last line of a log says that there is no more to come. */
  end(): void {
    if (this.#askedAt !== null) this.#log?.info('stopped');
  }

  #ask(wish: string): void {
    if (this.#askedAt !== null) {
      if (performance.now() - this.#askedAt < SAME_WISH_MS) return;
      this.#say(`${wish} again: ending at once; what was running is taken back by others`);
      process.exit(1);
    }
    this.#askedAt = performance.now();
    this.#say(`${wish}: stopping`);
    setTimeout(() => {
      this.#say('it took too long to stop; what is left will be taken back by others');
      process.exit(1);
    }, EXIT_WITHIN_MS).unref();
    this.#stop.resolve();
  }

  #say(line: string): void {
    if (this.#log) this.#log.info(line);
    else process.stderr.write(`millrace: ${line}, once the start is done\n`);
  }
}

/** A command's options, to be added to and parsed. Its help ends with the variables that matter to it. */
export function commandLine(name: string, description: string, roles: readonly Role[] = []): Command {
  const variables = variablesOf(roles);
  const width = Math.max(...variables.map(([variable]) => variable.length));
  const rows = variables.map(
    ([variable, { default: value, meaning }]) => `  ${variable.padEnd(width)}  ${meaning} [${value}]\n`,
  );
  return new Command(name)
    .description(description)
    .helpOption('-h, --help', 'show this')
    .addHelpText('after', `\nVariables [and what holds without them]:\n${rows.join('')}`);
}
