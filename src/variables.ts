// Every variable, as the help of commands and docs/configuration.md print it. config.ts reads them.

import { S3_VARIABLES } from './s3-config.ts';

/** What a process may be, besides a command that does one thing and ends; the whole platform is both. */
export type Role = 'api' | 'worker' | 'client';

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
  ADMIN_PORT: {
    default: 'none',
    meaning:
      'Port of its own for /v1/admin, /metrics and the checks of /readyz, which PORT then does not serve. 0 takes a free one.',
    roles: ['api'],
  },
  ADMIN_HOST: { default: 'HOST', meaning: 'Address that ADMIN_PORT is of.', roles: ['api'] },
  TRUSTED_PROXIES: {
    default: 'none',
    meaning:
      'Addresses and networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed.',
    roles: ['api'],
  },
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
  MIGRATE: {
    default: 'on',
    meaning: '`off`: a start on an older schema is refused, and `npm run migrate` brings it up to date.',
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
    meaning:
      'Seals secrets at rest and signs links. 32 bytes, base64; while it is replaced `new,old`: the first seals, all open.',
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
  MILLRACE_URL: {
    default: '`base_url` of credentials.json in the data folder',
    meaning: "The API's address, for `npx millrace`.",
    roles: ['client'],
  },
  MILLRACE_API_KEY: {
    default: '`api_key` of credentials.json in the data folder',
    meaning: "An account's key, for `npx millrace`.",
    roles: ['client'],
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
