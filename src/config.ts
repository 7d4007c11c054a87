// Every variable Millrace reads, once, at start. docs/configuration.md is the same table; a test compares them.
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { asUrl } from './config-url.ts';
import { type CrashAt, parseCrashAt } from './crash.ts';
import { readS3Config, S3_VARIABLES, type S3Config } from './s3-config.ts';
import { canonicalHost } from './egress/judge.ts';

export interface Config {
  host: string;
  port: number;
  /** Absolute root of every URL we hand out, without a trailing slash; null: from host and port, once they are known. */
  publicUrl: string | null;
  /** Root of the address at which vendors reach the API; null: none does. */
  callbackUrl: string | null;
  dataDir: string;
  databaseUrl: string | null;
  databaseClientUrl: string | null;
  databaseFlowUrl: string | null;
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
  hostName: string;
}

/** What a process may be, besides a command that does one thing and ends; the whole platform is both. */
export type Role = 'api' | 'worker';

interface Variable {
  default: string;
  meaning: string;
  /** The roles to which it matters; absent: every command. */
  roles?: readonly Role[];
}

/** Name -> default and meaning, as the documentation prints them. */
export const VARIABLES = {
  PORT: { default: '8080', meaning: 'Port of the API. 0 takes a free one.', roles: ['api'] },
  HOST: { default: '127.0.0.1', meaning: 'Address the API listens on.', roles: ['api'] },
  PUBLIC_URL: {
    default: 'http://HOST:PORT',
    meaning:
      'Root of every absolute URL that clients are given. To be set where HOST is 0.0.0.0 or ::, else links say localhost.',
    roles: ['api', 'worker'],
  },
  CALLBACK_URL: {
    default: 'PUBLIC_URL, if it is https',
    meaning:
      'Root of the address at which vendors may tell that work is done. Without one, workers only poll for it.',
    roles: ['worker'],
  },
  MILLRACE_DATA_DIR: {
    default: '.millrace',
    meaning:
      'Folder of the embedded database, artifacts and credentials. Roles that are started apart share its `artifacts/`, unless S3_BUCKET is set.',
  },
  DATABASE_URL: {
    default: 'embedded',
    meaning: 'PostgreSQL, as the role that owns the tables; a direct connection.',
  },
  DATABASE_CLIENT_URL: {
    default: 'DATABASE_URL',
    meaning: 'PostgreSQL, as a login that may SET ROLE millrace_client.',
  },
  DATABASE_FLOW_URL: {
    default: 'DATABASE_URL',
    meaning: 'PostgreSQL, as a login that may SET ROLE millrace_flow.',
  },
  REDIS_URL: {
    default: 'none',
    meaning: 'Redis or Valkey for the queue and wake-ups; without it PostgreSQL does both.',
  },
  ...S3_VARIABLES,
  SIM_URL: {
    default: 'embedded',
    meaning:
      'A running simulator to use instead of the embedded one, which each API and worker starts otherwise.',
    roles: ['api', 'worker'],
  },
  ENGINE_PATH: {
    default: 'PATH',
    meaning:
      'Folders, as PATH has them, in which a worker looks for engines on the command line. One without any: no engines.',
    roles: ['worker'],
  },
  ENGINE_MODELS_DIR: {
    default: '`engines` in the data folder',
    meaning: 'Holds a folder for each engine that needs model files: `whisper-cli`, `piper`, `sd`.',
    roles: ['worker'],
  },
  SUPPORT_URL: {
    default: 'none',
    meaning: 'Where the owner of a suspended or closed account may ask; told in the refusal.',
    roles: ['api'],
  },
  CORS_ORIGINS: {
    default: 'none',
    meaning: 'Origins that browsers may call from, separated by commas.',
    roles: ['api'],
  },
  EGRESS_ALLOW: {
    default: 'none',
    meaning:
      'Hosts, names or addresses, separated by commas, that webhooks and inputs by URL may name though they are private, over plain http too, on any port.',
    roles: ['api', 'worker'],
  },
  MILLRACE_KEY_PEPPER: {
    default: '`pepper` of secrets.json in the data folder',
    meaning: 'Secret under which API keys are hashed. 32 bytes or more.',
  },
  MILLRACE_SECRET_KEY: {
    default: '`key` of secrets.json in the data folder',
    meaning: "Seals vendors' keys and signs links. 32 bytes, base64.",
  },
  DRAIN_SECONDS: {
    default: '20',
    meaning: 'How long a stopping process lets running jobs finish. At most 24.',
    roles: ['api', 'worker'],
  },
  LEASE_MS: {
    default: '9000',
    meaning: "A worker's lease. Its jobs are taken back once it lapses.",
    roles: ['worker'],
  },
  SWEEP_MS: { default: '1000', meaning: 'Pause between two passes of the sweep.', roles: ['worker'] },
  HEARTBEAT_MS: {
    default: '15000',
    meaning: 'Pause between the heartbeats of a stream, at which its key is looked at again.',
    roles: ['api'],
  },
  SOCKET_HEARTBEAT_MS: {
    default: '25000',
    meaning: 'Pause between the pings of a WebSocket; two without an answer close it.',
    roles: ['api'],
  },
  METRICS_PORT: {
    default: 'none',
    meaning: 'Port on which a worker alone serves /metrics and /healthz. 0 takes a free one.',
    roles: ['worker'],
  },
  LOG_LEVEL: { default: 'info', meaning: 'fatal, error, warn, info, debug, trace or silent.' },
  CRASH_AT: {
    default: 'none',
    meaning: 'For tests: name:nth[:signal] ends the process there. Ignored in production.',
    roles: ['api', 'worker'],
  },
  NODE_ENV: {
    default: 'none',
    meaning: '`production` ignores CRASH_AT, and changes nothing else.',
    roles: ['api', 'worker'],
  },
} as const satisfies Record<string, Variable>;

/** Those that matter to a process of these roles, by name. */
export function variablesOf(roles: readonly Role[]): [string, Variable][] {
  return Object.entries<Variable>(VARIABLES).filter(
    ([, variable]) => variable.roles?.some((role) => roles.includes(role)) ?? true,
  );
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

type Env = Partial<Record<string, string>>;

/** @throws Error naming the variable and what it should be. */
export function readConfig(env: Env = process.env): Config {
  const text = (name: keyof typeof VARIABLES) => (env[name]?.trim() ? env[name].trim() : null);
  const whole = (name: keyof typeof VARIABLES, min: number, max: number): number => {
    const raw = text(name) ?? VARIABLES[name].default;
    const value = Number(raw);
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new Error(`${name} is "${raw}"; it must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
  const url = (name: keyof typeof VARIABLES, protocols: string[]): string | null =>
    asUrl(text(name), { name, protocols });
  const oneOf = (name: keyof typeof VARIABLES, values: readonly string[]): string => {
    const value = text(name) ?? VARIABLES[name].default;
    if (values.includes(value)) return value;
    throw new Error(`${name} is "${value}"; it must be one of ${values.join(', ')}.`);
  };
  const list = (name: keyof typeof VARIABLES): string[] =>
    (text(name) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean);
  const postgres = ['postgres:', 'postgresql:'];
  const production = text('NODE_ENV') === 'production';
  const crashAt = text('CRASH_AT');
  const dataDir = resolve(text('MILLRACE_DATA_DIR') ?? VARIABLES.MILLRACE_DATA_DIR.default);
  const publicUrl = url('PUBLIC_URL', ['http:', 'https:']);
  return Object.freeze({
    host: text('HOST') ?? VARIABLES.HOST.default,
    port: whole('PORT', 0, 65_535),
    publicUrl,
    callbackUrl:
      url('CALLBACK_URL', ['http:', 'https:']) ?? (publicUrl?.startsWith('https:') ? publicUrl : null),
    dataDir,
    databaseUrl: url('DATABASE_URL', postgres),
    databaseClientUrl: url('DATABASE_CLIENT_URL', postgres),
    databaseFlowUrl: url('DATABASE_FLOW_URL', postgres),
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
    metricsPort: text('METRICS_PORT') === null ? null : whole('METRICS_PORT', 0, 65_535),
    hostName: hostname(),
  });
}
