// Which engines are on this machine: their programs on PATH, and the model files of those that need any.
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { EngineName } from '../../domain/engines.ts';
import { type Engine, ENGINES } from './engines.ts';

export interface FoundEngine {
  name: EngineName;
  engine: Engine;
  /** Path of its program. */
  program: string;
  /** Voices, or models with their paths, by name; the default first. Empty: it has but one. */
  variants: Map<string, { model?: string }>;
}

export interface Places {
  /** Folders to look for programs in, as PATH has them. */
  path: string;
  /** Holds a folder for each engine that needs model files, named like the engine. */
  modelsDir: string;
}

/** More of one engine would be a list nobody reads, in a row that is written every few seconds. */
const MOST_VARIANTS = 100;

export function findEngines({ path, modelsDir }: Places): Map<EngineName, FoundEngine> {
  const found = new Map<EngineName, FoundEngine>();
  for (const [name, engine] of Object.entries(ENGINES) as [EngineName, Engine][]) {
    const program = which(engine.program, path);
    const variants = program && variantsOf(engine, join(modelsDir, name));
    if (program && variants) found.set(name, { name, engine, program, variants });
  }
  return found;
}

/** What routes may name: each engine, and each with one of its variants. */
export function namesOf(found: Map<EngineName, FoundEngine>): string[] {
  return [...found.values()].flatMap(({ name, variants }) => [
    name,
    ...[...variants.keys()].map((variant) => `${name}:${variant}`),
  ]);
}

/** Null: it needs a model file, and there is none. */
function variantsOf({ variants }: Engine, folder: string): FoundEngine['variants'] | null {
  if (variants === null) return new Map();
  if ('voices' in variants) return new Map(variants.voices.map((voice) => [voice, {}]));
  const names = listed(folder);
  const models = names.flatMap((file): [string, { model: string }][] => {
    const name = variants.files.exec(file)?.[1];
    const whole = variants.beside === undefined || names.includes(file + variants.beside);
    return name !== undefined && whole ? [[name, { model: join(folder, file) }]] : [];
  });
  return models.length === 0 ? null : new Map(models.slice(0, MOST_VARIANTS));
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}

/** Relative folders are passed over: what they hold depends on where a process was started. */
export function which(program: string, path: string): string | null {
  const places = path.split(delimiter).filter(isAbsolute);
  return places.map((folder) => join(folder, program)).find(isProgram) ?? null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
