// What the environment says, read once, at start.
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { type CrashAt, parseCrashAt } from './crash.ts';
import { readS3Config, type S3Config } from './s3-config.ts';
import { canonicalHost } from './egress/judge.ts';
import { VARIABLES } from './variables.ts';

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

export { type Role, variablesOf, VARIABLES } from './variables.ts';

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
  const url = (name: keyof typeof VARIABLES, protocols: string[]): string | null => {
    const raw = text(name);
    if (raw === null) return null;
    if (!URL.canParse(raw) || !protocols.includes(new URL(raw).protocol)) {
      throw new Error(
        `${name} must be a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}.`,
      );
    }
    return raw.replace(/\/+$/, '');
  };
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
    logLevel: oneOf('LOG_LEVEL', LOG_LEVELS),
    production,
    crashAt: production || crashAt === null ? null : parseCrashAt(crashAt),
    metricsPort: text('METRICS_PORT') === null ? null : whole('METRICS_PORT', 0, 65_535),
    clientUrl: url('MILLRACE_URL', ['http:', 'https:']),
    clientKey: text('MILLRACE_API_KEY'),
    hostName: hostname(),
  });
}
