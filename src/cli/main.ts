// What clients run: `npx millrace listen --forward http://localhost:3000/hook`.
import { Command, InvalidArgumentError } from 'commander';
import { readConfig } from '../config.ts';
import { EVENT_PATTERNS } from '../domain/event-types.ts';
import { isSecret, newSecret } from '../domain/webhook.ts';
import { runCommand } from '../process.ts';
import { accessOf } from './access.ts';
import { listen } from './listen.ts';

const program = new Command('millrace').description("For developers of what receives Millrace's events.");

program
  .command('listen')
  .description(
    "Brings an account's events to a server on this machine, signed as webhooks are. Each is sent once, in order.",
  )
  .requiredOption('--forward <url>', 'where to send them, as http://localhost:3000/hook', parseUrl)
  .option('--events <list>', 'which, separated by commas: types, job.*, or *', parseEvents, ['*'])
  .option('--secret <whsec>', 'what to sign with; without it one is made and shown', parseSecret)
  .option('--after <sequence>', 'begin after this event; without it with the next one', parseSequence)
  .option('--url <url>', "the API's address", parseUrl)
  .option('--key <key>', "the account's key; better kept in MILLRACE_API_KEY")
  .helpOption('-h, --help', 'show this')
  .addHelpText(
    'after',
    `
Address and key come from the options, else from MILLRACE_URL and MILLRACE_API_KEY, else from credentials.json in
MILLRACE_DATA_DIR [.millrace].
`,
  )
  .action(async (options: ListenOptions) => {
    await runCommand(async (life) => {
      const access = await accessOf(readConfig(), options);
      const { forward, events, after = null, secret = newSecret() } = options;
      const stop = new AbortController();
      const say = (line: string): void => void process.stdout.write(`${line}\n`);
      say(`Events of ${access.url} go to ${forward}, signed with ${secret}`);
      const listening = listen({ ...access, forward, events, after, secret, say, signal: stop.signal });
      life.defer(async () => stop.abort());
      const quiet = { info() {}, error: (_: object, line: string) => say(line) };
      await Promise.race([listening, life.untilStopped(quiet)]);
    });
  });

await program.helpOption('-h, --help', 'show this').parseAsync();

interface ListenOptions {
  forward: string;
  events: string[];
  secret?: string;
  after?: string;
  url?: string;
  key?: string;
}

function parseUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('It must be a URL that begins with http:// or https://.');
}

function parseEvents(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  const stranger = names.find((name) => !EVENT_PATTERNS.includes(name));
  if (stranger === undefined) return names;
  throw new InvalidArgumentError(
    `"${stranger}" is no event; there are, for example, job.succeeded, job.* and *.`,
  );
}

function parseSecret(text: string): string {
  if (isSecret(text)) return text;
  throw new InvalidArgumentError('It must be whsec_ and 24 to 64 bytes in base64.');
}

function parseSequence(text: string): string {
  if (/^[0-9]{1,18}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the number of an event.');
}
