// Start-up: from a configuration to a running context, whoever starts first. Every command comes through here.
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, readConfig } from './config.ts';
import { type Address, type Context, openContext } from './context.ts';
import { armCrashPoint } from './crash.ts';
import { bringSchema } from './db/schema.ts';
import { seed } from './db/seed.ts';
import { transaction } from './db/transaction.ts';
import { joinEmbedded } from './embedded/join.ts';
import { LockFile } from './embedded/lock.ts';
import { createAccount, createKey } from './flow/accounts.ts';
import { openLog } from './logging.ts';
import type { OpenQueue } from './queue/queue.ts';
import type { Life } from './process.ts';
import { reach } from './reach.ts';
import { holdKeys, holdPepper, holdStorage } from './belongings.ts';
import { readSecrets } from './secrets.ts';

export interface Platform {
  ctx: Context;
  /** Null: there is none, since nobody here calls one. */
  simUrl: string | null;
  /** Tells the embedded services that this process goes; the last one stops them. */
  leave(): Promise<void>;
}

interface PlatformOptions {
  address?: Address;
  config?: Config;
  /** Logs warnings and errors alone. */
  quiet?: boolean;
  /** False for a command that calls no provider: no simulator is started for it. */
  sim?: boolean;
  /** True for the command that brings the schema up to date, whatever MIGRATE says. */
  migrates?: true;
  /** False for a command that has nothing to do with artifacts: it may run where their folder is not. */
  artifacts?: boolean;
  /** Another queue than BullMQ; for tests. */
  openQueue?: OpenQueue;
}

/** For a command: what is opened is closed, and left, when its life ends. */
export async function openPlatformFor(life: Life, options: PlatformOptions = {}): Promise<Platform> {
  const platform = await openPlatform(options);
  life.defer(() => platform.ctx.close().finally(platform.leave));
  return platform;
}

export async function openPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const config = options.config ?? readConfig();
  armCrashPoint(config.crashAt);
  const log = openLog(options.quiet ? 'warn' : config.logLevel);
  await makeDataDir(config.dataDir);
  const secrets = await readSecrets(config);
  const embedded = await joinEmbedded({
    dataDir: config.dataDir,
    postgres: config.databaseUrl === null,
    sim: config.simUrl === null && (options.sim ?? true),
    log: (line) => log.info(line),
  });
  let ctx: Context | null = null;
  try {
    const databaseUrl = config.databaseUrl ?? embedded.databaseUrl;
    const simUrl = config.simUrl ?? embedded.simUrl;
    if (databaseUrl === null) throw new Error('the embedded database did not say where it is');
    await reach({ variable: 'DATABASE_URL', url: databaseUrl }, () =>
      bringSchema(databaseUrl, {
        mayMigrate: options.migrates ?? config.migrate,
        log: (line) => log.info(line),
      }),
    );
    ctx = await openContext({
      config,
      log,
      databaseUrl,
      secrets,
      address: options.address ?? { url: null },
      ...(options.openQueue && { openQueue: options.openQueue }),
    });
    await firstStart(ctx, { artifacts: options.artifacts ?? true });
    return { ctx, simUrl, leave: () => embedded.leave() };
  } catch (error) {
    // What went wrong first is what there is to tell.
    await ctx?.close().catch(() => {});
    await embedded.leave().catch((left: Error) => log.warn(`leaving went wrong, too: ${left.message}`));
    throw error;
  }
}

async function makeDataDir(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    const { code } = error as { code?: unknown };
    throw new Error(
      `The data folder ${path} cannot be made (${String(code)}). Set MILLRACE_DATA_DIR to a folder that this user may write.`,
      { cause: error },
    );
  }
}

const FIRST_CREDITS = 20_000_000n;

interface Credentials {
  base_url: string;
  api_key: string;
  admin_key: string;
}

/**
 * Seeds the catalogue, and in a database without an operator's key makes that key and a first account, whose tokens go
 * into this data folder's credentials.json. Under a lock, so that of many first starts one is the first.
 */
async function firstStart(ctx: Context, { artifacts }: { artifacts: boolean }): Promise<void> {
  const lock = await ctx.flow.connect();
  try {
    // Whoever is first makes everything: that may take longer than a lock may otherwise be waited for.
    await lock.query(`set lock_timeout = 0`);
    await lock.query(`select pg_advisory_lock(hashtext('millrace.first-start'))`);
    await holdPepper(ctx.flow, ctx.secrets.pepper);
    await holdKeys(ctx.flow, ctx.secrets.keys);
    if (artifacts) await holdStorage(ctx);
    await transaction(ctx.flow, seed);
    await ctx.refreshCatalogue();
    const { rowCount } = await ctx.flow.query(`select 1 from api_keys where mode = 'admin' limit 1`);
    if (rowCount !== 0) return;
    const first = { name: 'first', plan: 'startup', credits: FIRST_CREDITS, overrides: {} };
    const { answer } = await createAccount(ctx, first, { actor: 'first start', idempotency: null });
    // The operator's key last: a start that dies before leaves the next one to be the first.
    await transaction(ctx.flow, async (tx) => {
      const adminKey = await createKey(ctx, tx, { accountId: null, mode: 'admin', name: 'first' });
      await writeCredentials(ctx.config, {
        base_url: ctx.publicUrl(),
        api_key: answer.apiKey,
        admin_key: adminKey,
      });
    });
    ctx.log.info(`credentials are in ${join(ctx.config.dataDir, 'credentials.json')}`);
  } finally {
    // Ends the connection, and with it the lock and the setting.
    lock.release(true);
  }
}

const TURN_EVERY_MS = 2_000;

/**
 * Once the API listens: others learn its address, the workers from the database and people from credentials.json. Of the
 * APIs that share a data folder the first is named; when it goes, however it goes, one that is still there.
 */
export async function announceAddress(ctx: Context): Promise<{ close(): void }> {
  const turn = new LockFile(join(ctx.config.dataDir, 'address.lock'));
  if (turn.tryExclusive()) {
    await tellAddress(ctx);
    return turn;
  }
  ctx.log.info('another API uses this data folder; its address stays the one that is named until it stops');
  const timer = setInterval(() => {
    if (!turn.tryExclusive()) return;
    clearInterval(timer);
    tellAddress(ctx).catch((error: Error) => ctx.log.warn(`the address could not be told: ${error.message}`));
  }, TURN_EVERY_MS).unref();
  return {
    close() {
      clearInterval(timer);
      turn.close();
    },
  };
}

async function tellAddress(ctx: Context): Promise<void> {
  const url = ctx.publicUrl();
  await ctx.flow.query(
    `insert into settings (name, value) values ('public_url', $1) on conflict (name) do update set value = excluded.value`,
    [url],
  );
  const credentials = await readCredentials(ctx.config);
  if (credentials && credentials.base_url !== url)
    await writeCredentials(ctx.config, { ...credentials, base_url: url });
}

export async function readCredentials(config: Config): Promise<Credentials | null> {
  try {
    return JSON.parse(await readFile(join(config.dataDir, 'credentials.json'), 'utf8')) as Credentials;
  } catch {
    return null;
  }
}

/** Whole or not at all, and nobody else's to read. */
export async function writeCredentials(config: Config, credentials: Credentials): Promise<void> {
  const path = join(config.dataDir, 'credentials.json');
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, path);
}
