// What every long-lived command shares: how it says that it failed, and how it ends.

/** The longest a process takes to end after SIGTERM. */
const EXIT_WITHIN_MS = 25_000;

/** Runs `main`; an error becomes one line and exit code 1. */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`millrace: ${(error as Error).message}\n`);
    if (process.env['LOG_LEVEL'] === 'debug') process.stderr.write(`${(error as Error).stack}\n`);
    process.exit(1);
  }
}

/** Resolves once `stop` has run, which the first SIGTERM or SIGINT begins; a second one ends the process at once. */
export function untilStopped(
  stop: () => Promise<void>,
  log: { info(line: string): void; error(context: object, line: string): void },
): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const begin = (signal: NodeJS.Signals): void => {
      if (stopping) process.exit(1);
      stopping = true;
      log.info(`${signal}: stopping`);
      setTimeout(() => {
        log.error({}, 'it took too long to stop; what is left will be taken back by others');
        process.exit(1);
      }, EXIT_WITHIN_MS).unref();
      stop()
        .catch((error: Error) => log.error({ err: error }, 'stopping went wrong'))
        .finally(resolve);
    };
    process.on('SIGTERM', begin);
    process.on('SIGINT', begin);
    // A bug must not leave a process that does half its work: it drains, and others go on.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(event, (error: unknown) => {
        log.error({ err: error }, `${event}: stopping`);
        process.exitCode = 1;
        begin('SIGTERM');
      });
    }
  });
}
