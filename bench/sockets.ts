// `npm run bench:sockets`: thousands of WebSockets on one API that follow all events of their accounts, while jobs are
// submitted at a steady rate to another API. Writes bench/results/sockets.json; exit code 1 if a target is missed.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { chat, type Client } from '../test/support/client.ts';
import { spawnApi } from '../test/support/spawn.ts';
import { amount } from './amount.ts';
import { cpuTimes, shares } from './cpu.ts';
import { describeMachine, startMachine } from './machine.ts';
import type { Figures, Orders } from './socket-readers.ts';

const A_KEY = 50;
const TARGET = { p99_ms: 250, kib_each: 20 };
const WARM_UP_S = 5;
const SETTLE_MS = 5_000;
const LAST_ONES_MS = 2_000;

const options = new Command('npm run bench:sockets --')
  .description(
    `WebSockets on one API, ${A_KEY} a key, each of which follows all events of its account: measures how late events come, whether all ` +
      'do, and what memory a socket takes; then again with one reader that takes nothing. Writes bench/results/sockets.json.',
  )
  .addOption(amount('--sockets <n>', 'how many are open').default(5_000))
  .addOption(amount('--rate <n>', 'events a second, of all accounts together').default(200))
  .addOption(amount('--seconds <n>', 'for how long each of the two is measured').default(20))
  .helpOption('-h, --help', 'show this')
  .parse()
  .opts<{ sockets: number; rate: number; seconds: number }>();
const { sockets, rate, seconds } = options;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

assertFiles(sockets + 500);
say(`Millrace bench of sockets: ${describeMachine()}, load ${loadavg()[0]?.toFixed(1)}`);
const machine = await startMachine('redis');
const serving = await spawnApi(machine);
const readers = fork(new URL('socket-readers.ts', import.meta.url), { stdio: 'inherit' });
try {
  const results = await run();
  const folder = new URL('results/', import.meta.url);
  await mkdir(folder, { recursive: true });
  await writeFile(new URL('sockets.json', folder), `${JSON.stringify(results, null, 2)}\n`);
  if (!results.holds) process.exitCode = 1;
} finally {
  readers.kill();
  await serving.kill();
  await machine.stop();
}

async function run() {
  const accounts: (Client & { key: string })[] = [];
  for (let i = 0; i < Math.ceil(sockets / A_KEY); i++)
    accounts.push(await machine.account({ plan: 'scale', overrides: { slots: 0, line_length: 1_000_000 } }));
  // Once, for the process to grow to its size without any socket.
  await Promise.all(accounts.map((account) => account.get('/v1/account')));
  await sleep(1_000);
  const empty = rssKib(serving.pid);
  const from = performance.now();
  order({
    open: {
      url: `${serving.url.replace(/^http/, 'ws')}/v1/ws`,
      keys: accounts.map(({ key }) => key),
      each: A_KEY,
    },
  });
  const { opened } = await reply<{ opened: number }>();
  const openedMs = Math.round(performance.now() - from);
  await sleep(SETTLE_MS);
  const open = rssKib(serving.pid);
  await load(accounts, WARM_UP_S);
  await sleep(LAST_ONES_MS);
  const plain = await measure(accounts, {});
  const stalled = await measure(accounts, { stall: 1 });
  const loaded = rssKib(serving.pid);
  const each = (now: number): number => Math.round(((now - empty) / opened) * 10) / 10;
  const memory = {
    rss_mib_without: Math.round(empty / 1024),
    kib_each_open: each(open),
    kib_each_after_load: each(loaded),
  };
  const holds =
    [plain, stalled].every(
      ({ p99_ms, gaps, missing }) => p99_ms < TARGET.p99_ms && gaps === 0 && missing === 0,
    ) && Math.max(memory.kib_each_open, memory.kib_each_after_load) < TARGET.kib_each;
  say(`\n${opened} sockets opened in ${openedMs} ms, ${JSON.stringify(memory)}`);
  table({ 'all read': plain, 'one stalls': stalled });
  say(
    `p99 under ${TARGET.p99_ms} ms, nothing missing, under ${TARGET.kib_each} KiB each: ${holds ? 'holds' : 'DOES NOT HOLD'}`,
  );
  return {
    machine: describeMachine(),
    at: new Date().toISOString(),
    options,
    target: TARGET,
    opened,
    opened_ms: openedMs,
    memory,
    all_read: plain,
    one_stalls: stalled,
    holds,
  };
}

/** What is measured begins with a load that flows, and ends when its last events have come. */
async function measure(accounts: readonly Client[], orders: Orders) {
  order({ ...orders, begin: true });
  const before = cpuTimes();
  const { made, ofFirst, forS } = await load(accounts, seconds);
  const cpu = shares(before, {
    [serving.pid]: 'api that serves',
    [machine.api.pid]: 'api that writes',
    [readers.pid as number]: 'readers',
    [process.pid]: 'submitters',
  });
  await sleep(LAST_ONES_MS);
  order({ end: true });
  const figures = await reply<Figures>();
  // Those that stall are of the first account, and take none.
  const wanted = made * A_KEY - (orders.stall ?? 0) * ofFirst;
  return {
    ...figures,
    events_a_second: Math.round(made / forS),
    frames_a_second: Math.round(figures.frames / forS),
    missing: wanted - figures.frames,
    load: loadavg()[0] ?? 0,
    cpu,
  };
}

/** Each job makes an event: its account has no slots, so that nothing else happens. */
async function load(
  accounts: readonly Client[],
  forS: number,
): Promise<{ made: number; ofFirst: number; forS: number }> {
  const from = performance.now();
  const under: Promise<unknown>[] = [];
  while (performance.now() - from < forS * 1000) {
    const due = ((performance.now() - from) / 1000) * rate;
    while (under.length < due) {
      const account = accounts[under.length % accounts.length] as Client;
      under.push(account.submit(chat('bench', { max_tokens: 16 })));
    }
    await sleep(2);
  }
  await Promise.all(under);
  const ofFirst = Math.ceil(under.length / accounts.length);
  return { made: under.length, ofFirst, forS: (performance.now() - from) / 1000 };
}

function order(orders: Orders): void {
  readers.send(orders);
}

async function reply<T>(): Promise<T> {
  const [message] = await once(readers, 'message', { signal: AbortSignal.timeout(120_000) });
  return message as T;
}

function rssKib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** The API and the readers have a descriptor for each socket. */
function assertFiles(needed: number): void {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const most = Number(/Max open files\s+(\d+)/.exec(limits)?.[1] ?? Infinity);
  if (most >= needed) return;
  say(`A process may open ${most} files here, and ${sockets} sockets need ${needed}: ulimit -n ${needed}`);
  process.exit(2);
}

type Measured = Awaited<ReturnType<typeof measure>>;

function table(rows: Record<string, Measured>): void {
  say('             events/s   frames/s   p50 ms   p99 ms   max ms   gaps   missing');
  for (const [name, row] of Object.entries(rows)) {
    const cells = [
      row.events_a_second,
      row.frames_a_second,
      row.p50_ms,
      row.p99_ms,
      row.max_ms,
      row.gaps,
      row.missing,
    ];
    const widths = [8, 10, 8, 8, 8, 6, 9];
    say(`${name.padEnd(12)} ${cells.map((cell, i) => String(cell).padStart(widths[i] as number)).join(' ')}`);
    say(`${''.padEnd(13)}${row.cpu.map(({ name: who, percent }) => `${who} ${percent}%`).join(', ')}`);
  }
}
