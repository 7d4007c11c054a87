// docker-compose.yml as Docker reads it: anchors merged, variables filled in. No Docker engine is needed, or asked.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from './command.ts';

export interface Service {
  image: string;
  build?: string;
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  expose?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  restart?: string;
  stop_grace_period?: string;
  deploy: { replicas?: number; resources: { limits: { cpus: string; memory: string } } };
}

export interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, null>;
}

export const readText = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
export const readYaml = (path: string): unknown => parse(readText(path), { merge: true });

/** @throws Error with what it says */
export const makeEnv = (file: string): unknown =>
  execFileSync('sh', [join(ROOT, 'deploy/make-env.sh'), file], { stdio: 'pipe' });

/** What `sh deploy/make-env.sh` makes, as an environment. */
export function madeEnv(): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-env-'));
  const file = join(folder, '.env');
  makeEnv(file);
  const text = readFileSync(file, 'utf8');
  rmSync(folder, { recursive: true });
  return Object.fromEntries(
    [...text.matchAll(/^([A-Z_0-9]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
}

/** `${NAME}`, `${NAME:-default}` and `${NAME:?complaint}`. */
const VARIABLE = /\$\{([A-Z_0-9]+)(?::([-?])([^}]*))?\}/g;

export const variablesIn = (text: string): string[] =>
  [...text.matchAll(VARIABLE)].map(([, name]) => name as string);

/** @throws Error for a variable that is not set and has no default, as Docker does */
export function readCompose(env: Record<string, string>): Compose {
  const fill = (text: string): string =>
    text.replaceAll(VARIABLE, (_, name: string, kind?: string, rest = '') => {
      const value = env[name];
      if (value) return value;
      if (kind === '-') return rest as string;
      throw new Error(`${name} is not set: ${rest}`);
    });
  const filled = (value: unknown): unknown => {
    if (typeof value === 'string') return fill(value);
    if (Array.isArray(value)) return value.map(filled);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, filled(inner)]));
  };
  return filled(readYaml('docker-compose.yml')) as Compose;
}
