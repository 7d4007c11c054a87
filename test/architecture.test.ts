// The shape of the code, held by a test: imports go down only, nothing goes in circles, files stay short.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

/** What each folder of src may import besides itself. Single files of src/ stand under `root`. */
const MAY_IMPORT: Record<string, string[]> = {
  domain: [],
  db: ['domain', 'crash.ts'],
  queue: ['domain'],
  storage: ['domain'],
  egress: ['domain'],
  live: ['domain'],
  providers: ['domain', 'crash.ts'],
  embedded: [],
  store: ['db', 'domain'],
  ledger: ['db', 'domain'],
  // What verbs need of the adapters are their contracts; the adapters themselves come in the context.
  flow: [
    'store',
    'ledger',
    'db',
    'domain',
    'context.ts',
    'crash.ts',
    'live/bus.ts',
    'live/hub.ts',
    'queue/queue.ts',
    'storage/storage.ts',
    'egress/egress.ts',
    'providers/provider.ts',
  ],
  api: [
    'flow',
    'store',
    'ledger',
    'db',
    'domain',
    'live/hub.ts',
    'storage/storage.ts',
    'context.ts',
    'crash.ts',
    'logging.ts',
    'metrics.ts',
    'platform.ts',
    'process.ts',
  ],
  // A client's: it knows the platform by its API alone.
  cli: ['domain', 'config.ts', 'process.ts'],
  workers: [
    'flow',
    'store',
    'db',
    'domain',
    'providers/registry.ts',
    'providers/provider.ts',
    'queue/queue.ts',
    'context.ts',
    'crash.ts',
    'metrics.ts',
    'platform.ts',
    'process.ts',
  ],
};
/** Joins the adapters; nothing else does. */
const JOINS = {
  'context.ts': [
    'db',
    'domain',
    'egress',
    'live',
    'queue',
    'storage',
    'store',
    'alarms.ts',
    'config.ts',
    'counts.ts',
    'reach.ts',
    'trouble.ts',
  ],
};

const files = globSync('src/**/*.ts', { cwd: ROOT, exclude: (name) => name.includes('generated') }).map(
  (path) => relative('src', path),
);
const sources = new Map(files.map((file) => [file, readFileSync(join(ROOT, 'src', file), 'utf8')]));

function importsOf(file: string): string[] {
  const found = (sources.get(file) ?? '').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g);
  return [...found]
    .map(([, path]) => join(dirname(file), path as string))
    .filter((path) => !path.startsWith('..'));
}

const folderOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] as string) : file);

describe('the import rule', () => {
  it('lets each folder import only what stands below it', () => {
    const breaches = files.flatMap((file) => {
      const folder = folderOf(file);
      const allowed = MAY_IMPORT[folder] ?? (JOINS as Record<string, string[]>)[folder];
      if (!allowed) return [];
      return importsOf(file)
        .filter(
          (path) => folderOf(path) !== folder && !allowed.includes(folderOf(path)) && !allowed.includes(path),
        )
        .map((path) => `${file} imports ${path}`);
    });
    expect(breaches).toEqual([]);
  });

  it('knows every folder', () => {
    const folders = new Set(files.filter((file) => file.includes('/')).map(folderOf));
    expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
  });

  it('has no circles', () => {
    const circles: string[] = [];
    const done = new Set<string>();
    const walk = (file: string, path: string[]): void => {
      if (path.includes(file))
        return void circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
      if (done.has(file)) return;
      for (const next of importsOf(file)) if (sources.has(next)) walk(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) walk(file, []);
    expect(circles).toEqual([]);
  });
});

it('keeps files short', () => {
  const long = files.filter((file) => (sources.get(file) ?? '').split('\n').length > 251);
  expect(long).toEqual([]);
});

/** Who reads the environment besides config.ts, and why it is not configuration. */
const READERS: Record<string, string> = {
  'config.ts': 'all that an operator sets',
  'embedded/command.ts': 'what a child needs to find programs',
  'embedded/postgres/binaries.ts': "the user's cache folder",
  'embedded/sim.ts': 'hands the simulator its own variables',
  'embedded/sim-hold.ts': 'inside the simulator',
  'providers/sim/main.ts': 'the simulator, a process of its own',
  'process.ts': 'how loud an error at start is, before there is a configuration',
};

it('reads the environment in one place', () => {
  const readers = files.filter((file) => /process\.env\b/.test(sources.get(file) ?? ''));
  expect(readers.filter((file) => !(file in READERS))).toEqual([]);
});
