// What the environment says, read once, at start.
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { type CrashAt, parseCrashAt } from './crash.ts';
import { openEnvironment } from './environment.ts';
import { canonicalHost } from './egress/judge.ts';
import { readS3Config, type S3Config } from './s3-config.ts';
import { VARIABLES } from './variables.ts';

export { type Role, VARIABLES, variablesOf } from './variables.ts';

export interface Config {
  host: string;
  port: number;
  adminHost: string;
  /** Null: /v1/admin, /metrics and the checks of /readyz are served on `port`. */
  adminPort: number | null;
  /** Whose X-Forwarded-For and -Proto are believed: addresses and networks. */
  trustedProxies: string[];
  /** Absolute root of every URL we hand out, without a trailing slash; null: from host and port, once they are known. */
  publicUrl: string | null;
  /** Root of the address at which vendors reach the API; null: none does. */
  callbackUrl: string | null;
  dataDir: string;
  databaseUrl: string | null;
  databaseClientUrl: string | null;
  databaseFlowUrl: string | null;
  /** Whether a start brings the schema up to date. */
  migrate: boolean;
  redisUrl: string | null;
  /** Null: artifacts are files in the data folder. */
  s3: S3Config | null;
  simUrl: string | null;
  /** Folders, as PATH has them, in which engines on the command line are looked for. */
  enginePath: string;
  engineModelsDir: string;
  supportUrl: string | null;
  corsOrigins: string[];
  /** Hosts that webhooks and inputs may be on though they are private, as `canonicalHost` gives them. */
  egressAllow: string[];
  keyPepper: string | null;
  secretKey: string | null;
  drainSeconds: number;
  leaseMs: number;
  sweepMs: number;
  heartbeatMs: number;
  socketHeartbeatMs: number;
  logLevel: string;
  production: boolean;
  /** Null in production, whatever the variable says. */
  crashAt: CrashAt | null;
  /** Of a worker alone; null: it serves no metrics. */
  metricsPort: number | null;
  /** Of a client's command: the API's address and a key. */
  clientUrl: string | null;
  clientKey: string | null;
  hostName: string;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** @throws Error naming the variable and what it should be. */
export function readConfig(env: Partial<Record<string, string>> = process.env): Config {
  const { text, whole, url, oneOf, port, list, networks } = openEnvironment(env, VARIABLES);
  const postgres = ['postgres:', 'postgresql:'];
  const production = text('NODE_ENV') === 'production';
  const crashAt = text('CRASH_AT');
  const dataDir = resolve(text('MILLRACE_DATA_DIR') ?? VARIABLES.MILLRACE_DATA_DIR.default);
  const publicUrl = url('PUBLIC_URL', ['http:', 'https:']);
  return Object.freeze({
    host: text('HOST') ?? VARIABLES.HOST.default,
    port: whole('PORT', 0, 65_535),
    adminHost: text('ADMIN_HOST') ?? text('HOST') ?? VARIABLES.HOST.default,
    adminPort: port('ADMIN_PORT'),
    trustedProxies: networks('TRUSTED_PROXIES'),
    publicUrl,
    callbackUrl:
      url('CALLBACK_URL', ['http:', 'https:']) ?? (publicUrl?.startsWith('https:') ? publicUrl : null),
    dataDir,
    databaseUrl: url('DATABASE_URL', postgres),
    databaseClientUrl: url('DATABASE_CLIENT_URL', postgres),
    databaseFlowUrl: url('DATABASE_FLOW_URL', postgres),
    migrate: oneOf('MIGRATE', ['on', 'off']) === 'on',
    redisUrl: url('REDIS_URL', ['redis:', 'rediss:']),
    s3: readS3Config({ text, url }),
    simUrl: url('SIM_URL', ['http:', 'https:']),
    enginePath: text('ENGINE_PATH') ?? env.PATH ?? '',
    engineModelsDir: resolve(text('ENGINE_MODELS_DIR') ?? join(dataDir, 'engines')),
    supportUrl: url('SUPPORT_URL', ['http:', 'https:']),
    corsOrigins: list('CORS_ORIGINS'),
    egressAllow: list('EGRESS_ALLOW').map((raw) => {
      const host = canonicalHost(raw);
      if (host === null)
        throw new Error(`EGRESS_ALLOW names "${raw}"; it must be a host name or an address, without a port.`);
      return host;
    }),
    keyPepper: text('MILLRACE_KEY_PEPPER'),
    secretKey: text('MILLRACE_SECRET_KEY'),
    drainSeconds: whole('DRAIN_SECONDS', 0, 24),
    leaseMs: whole('LEASE_MS', 500, 600_000),
    sweepMs: whole('SWEEP_MS', 50, 60_000),
    heartbeatMs: whole('HEARTBEAT_MS', 50, 60_000),
    socketHeartbeatMs: whole('SOCKET_HEARTBEAT_MS', 50, 60_000),
    logLevel: oneOf('LOG_LEVEL', LOG_LEVELS),
    production,
    crashAt: production || crashAt === null ? null : parseCrashAt(crashAt),
    metricsPort: port('METRICS_PORT'),
    clientUrl: url('MILLRACE_URL', ['http:', 'https:']),
    clientKey: text('MILLRACE_API_KEY'),
    hostName: hostname(),
  });
}
