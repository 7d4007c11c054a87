// Programs for the provider to find: scripts that a test writes, in a folder that serves as ENGINE_PATH.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExecOptions, type ExecProvider, execProvider } from '../../../src/providers/exec/index.ts';
import type { Route } from '../../../src/providers/provider.ts';
import { until } from '../support.ts';
import { wavFile } from '../../../src/domain/wav.ts';
import { goesWithUs } from '../../support/undertaker.ts';

export interface Workshop {
  /** Holds the programs; outside of the calls' folders, so that what they leave here can be looked at. */
  path: string;
  roomsDir: string;
  modelsDir: string;
  /** A program: the lines of a shell script. `$here` is this folder. */
  script(name: string, lines: string): void;
  /** A file that a program left here, once it is there; with all its lines. */
  left(name: string): Promise<string>;
  has(name: string): boolean;
  provider(options?: Partial<ExecOptions>): ExecProvider;
  remove(): void;
}

export function openWorkshop(): Workshop {
  const path = mkdtempSync(join(tmpdir(), 'millrace-workshop-'));
  const spare = goesWithUs(path);
  const [roomsDir, modelsDir] = [join(path, 'rooms'), join(path, 'models')];
  mkdirSync(modelsDir);
  // What an engine would have made.
  writeFileSync(
    join(path, 'tone.wav'),
    wavFile(Int16Array.from({ length: 8_000 }, (_, i) => 9_000 * Math.sin(i / 8))),
  );
  const write = (name: string, text: string): void => writeFileSync(join(path, name), text, { mode: 0o755 });
  return {
    path,
    roomsDir,
    modelsDir,
    script: (name, lines) => write(name, `#!/bin/sh\nhere='${path}'\n${lines}\n`),
    left: (name) =>
      until(async () => {
        const file = join(path, name);
        const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
        return text.endsWith('\n') ? text : null;
      }),
    has: (name) => existsSync(join(path, name)),
    provider: (options = {}) => execProvider({ path, modelsDir, roomsDir, ...options }),
    remove() {
      rmSync(path, { recursive: true, force: true });
      spare();
    },
  };
}

export const engineRoute = (upstreamModel: string): Route => ({
  id: 'route_exec',
  provider: 'exec',
  upstreamModel,
  baseUrl: '',
  apiKey: null,
  data: {},
  timed: false,
});
