// `npm run demo`: a platform from nothing, a job of each kind through its public API, and a look at the books.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type Client, createClient, MillraceError } from '../packages/client/src/index.ts';
import { findWrong, type Received } from './checks.ts';
import { SIMULATED, type Voices, voicesFor } from './engines.ts';
import { answerOf, chat, FILES, image, type Ran, runJob, speech, type Tools, transcript } from './jobs.ts';
import { attachPlatform, HOST, type Platform, startPlatform } from './platform.ts';
import { openReceiver, type Receiver } from './receiver.ts';
import { openScreen } from './screen.ts';
import { jobTable, number } from './table.ts';

interface Options {
  prompt: string;
  draw: string;
  say: string;
  out: string;
  attach?: string;
  simulated?: true;
}

const GIVEN = 2_000_000;
const STEPS = 6;
const TITLE_LENGTH = 100;

const command = new Command('npm run demo --')
  .description(
    'Starts Millrace with all it needs, runs a chat, an image, a sentence to speech and that speech back to text,\n' +
      'hears of them over a WebSocket and by webhook, checks what came and what it cost, and stops. Ends with code 0\n' +
      'only if everything held. Where flite and pocketsphinx are installed, they speak and hear English.',
  )
  .option('--prompt <text>', 'what to ask the chat', someText, 'What does a water mill do all day?')
  .option('--draw <text>', 'what to draw', someText, 'A windmill at dawn')
  .option(
    '--say <text>',
    'what to speak, and to hear again',
    someText,
    'The wheel turns as long as the water runs.',
  )
  .option('--out <folder>', 'where to write what is made', 'out')
  .option('--attach <file>', 'use the running Millrace of this credentials.json instead of starting one')
  .option('--simulated', 'let the simulator speak and hear, whatever engines are installed')
  .helpOption('-h, --help', 'show this')
  .addHelpText('after', '\nThe data folder is .millrace, or what MILLRACE_DATA_DIR names.')
  .allowExcessArguments()
  .parse();
const options = command.opts<Options>();
refuseSwallowed();

const stop = new AbortController();
const screen = openScreen(process.stdout, STEPS);
const asked = watchSignals();
let code = 1;
try {
  code = await demo();
} catch (error) {
  screen.close();
  complain(stop.signal.aborted ? 'stopped, and the platform with it' : wordsOf(error as Error));
}
process.exit(asked.code ?? code);

function someText(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('It must say something.');
  return text;
}

/** Without `--`, npm takes an option for one of its own, and its value for an argument of ours. */
function refuseSwallowed(): void {
  const swallowed = command.options.find(({ long }) => `npm_config_${long?.slice(2)}` in process.env);
  if (swallowed === undefined && command.args.length === 0) return;
  const { flags } = swallowed ?? { flags: '--prompt <text>' };
  command.error(`error: npm kept an option to itself; its place is behind "--": npm run demo -- ${flags}`);
}

function wordsOf(error: Error): string {
  if (error instanceof MillraceError) return `refused with ${error.status}: ${error.message} (${error.code})`;
  // fetch() itself only says that it failed.
  const { message } = Object(error.cause) as { message?: string };
  return message ? `${error.message}: ${message}` : error.message;
}

function complain(line: string): void {
  process.stderr.write(`demo: ${line}\n`);
}

async function demo(): Promise<number> {
  let starting = true;
  screen.step('start');
  screen.line(options.attach ? `Attaching to ${options.attach}` : 'Starting the platform');
  const platform = options.attach
    ? await attachPlatform(options.attach)
    : await startPlatform({
        step: (text) => starting && screen.note(text),
        trouble: (text) => screen.line(`platform: ${text}`),
        signal: stop.signal,
      });
  starting = false;
  try {
    stop.signal.throwIfAborted();
    screen.line(`Millrace is at ${platform.url}`);
    const received = await Promise.race([runAll(platform), platform.lost]);
    screen.close();
    return report(received);
  } finally {
    screen.close();
    await platform.stop().catch((error: Error) => {
      complain(error.message);
      asked.code ??= 1;
    });
  }
}

async function runAll({ url, adminKey }: Platform): Promise<Received> {
  const { out, say } = options;
  await mkdir(out, { recursive: true });
  // What an earlier run left must not pass for what this one made.
  for (const file of Object.values(FILES)) await rm(join(out, file), { force: true });

  const { api: admin } = createClient({ baseUrl: url, apiKey: adminKey, fetch: stoppable });
  const form = { name: 'demo', plan: 'startup', credits: GIVEN };
  const { api_key: apiKey } = answerOf(await admin.POST('/v1/admin/accounts', { body: form }));
  screen.line(`A new account has ${number(GIVEN)} credits`);
  const client = createClient({ baseUrl: url, apiKey, fetch: stoppable });
  const { data: models } = answerOf(await client.api.GET('/v1/models'));
  const voices = options.simulated
    ? SIMULATED
    : voicesFor(
        say,
        models.map(({ id }) => id),
      );
  const receiver = await receiveWebhooks(client);
  try {
    const ran = await runJobs({ client, receiver, screen, out, signal: stop.signal }, voices);
    screen.step('audit');
    const { balance } = answerOf(await client.api.GET('/v1/account'));
    const audit = answerOf(await admin.GET('/v1/admin/invariants'));
    screen.line();
    screen.line(
      `The audit read ${number(audit.rows)} rows: ${audit.ok ? 'the books are right' : 'THEY ARE WRONG'}`,
    );
    return {
      given: GIVEN,
      sentence: say,
      errorsMax: voices.errorsMax,
      ran,
      webhooks: receiver && { refused: receiver.refused() },
      files: await readBack(out),
      balance: { available: balance.available.credits, held: balance.held.credits },
      audit,
    };
  } finally {
    await receiver?.close();
  }
}

function stoppable(request: Request): Promise<Response> {
  return fetch(request, { signal: AbortSignal.any([request.signal, stop.signal]) });
}

/** An endpoint of the account, here. Null where the platform may not call this machine. */
async function receiveWebhooks({ api }: Client): Promise<Receiver | null> {
  const receiver = await openReceiver(HOST);
  try {
    const { secret } = answerOf(await api.POST('/v1/webhook-endpoints', { body: { url: receiver.url } }));
    receiver.believe(secret);
    return receiver;
  } catch (error) {
    await receiver.close();
    if (!(error instanceof MillraceError) || error.code !== 'webhook_url_refused') throw error;
    screen.line(`It calls no webhooks here (EGRESS_ALLOW does not name ${HOST}), so none is waited for`);
    return null;
  }
}

/** One after the other, so that each line of the table shows what that job did to the balance. */
async function runJobs(tools: Tools, voices: Voices): Promise<Ran[]> {
  const { prompt, draw, say } = options;
  const title = (what: string, text: string): void => {
    tools.screen.line();
    tools.screen.line(`${what}: ${text.replaceAll(/\s+/g, ' ').slice(0, TITLE_LENGTH)}`);
  };
  title('Chat', prompt);
  const ran = [await runJob(tools, 'chat', chat(prompt))];
  title('Image', draw);
  ran.push(await runJob(tools, 'image', image(draw)));
  title('Speech', say);
  const spoken = await runJob(tools, 'speech', speech(voices.speech, say));
  ran.push(spoken);
  if (!spoken.artifact) return ran;
  title('Transcript', `of ${spoken.artifact.id}`);
  const heard = await runJob(tools, 'transcript', transcript(voices.transcript, spoken.artifact.id));
  screen.line(`  "${heard.text}"`);
  return [...ran, heard];
}

async function readBack(out: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const file of Object.values(FILES)) {
    const content = await readFile(join(out, file)).catch(() => null);
    if (content) files.set(file, content);
  }
  return files;
}

function report(received: Received): number {
  const { ran, given, balance } = received;
  const spent = ran.reduce((sum, { job }) => sum + (job.cost?.credits ?? 0), 0);
  for (const line of ['', ...jobTable(ran), '']) screen.line(line);
  screen.line(`${number(given)} credits given, ${number(spent)} spent, ${number(balance.available)} left`);
  const wrong = findWrong(received);
  for (const line of wrong) complain(line);
  if (wrong.length > 0) return 1;
  const { errorsMax, webhooks } = received;
  const heard = errorsMax === 0 ? 'the transcript is the sentence' : 'the sentence was understood';
  const told = webhooks ? 'WebSocket and webhooks told the same' : 'the WebSocket told it all';
  screen.line(
    `All held: ${heard}, each artifact is what it should be, ${told}, each credit is accounted for.`,
  );
  return 0;
}

/** The first signal ends what runs; the platform is stopped in any case. A second one does not wait for that. */
function watchSignals(): { code: number | null } {
  const asked: { code: number | null } = { code: null };
  let at = 0;
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => {
      // npm hands on the Ctrl-C that the terminal has sent already.
      if (asked.code !== null && performance.now() - at > 1_000) process.exit(asked.code);
      if (asked.code !== null) return;
      at = performance.now();
      asked.code = 128 + number;
      screen.line(`${signal}: stopping`);
      stop.abort();
    });
  }
  return asked;
}
