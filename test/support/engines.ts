// The engines that tests speak and hear with: Debian's flite and pocketsphinx, in a folder of the test's own that serves
// as ENGINE_PATH.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromDebian, type Tree, which } from './debian.ts';
import { goesWithUs } from './undertaker.ts';

export interface EngineFolder {
  /** Holds `flite` and `pocketsphinx_continuous`, and nothing else. */
  path: string;
  remove(): void;
}

const MODELS = 'usr/share/pocketsphinx/model/en-us';
const execute = promisify(execFile);

export async function engineFolder(): Promise<EngineFolder> {
  const [flite, sphinx] = [which('flite'), which('pocketsphinx_continuous')];
  const path = mkdtempSync(join(tmpdir(), 'millrace-engines-'));
  const spare = goesWithUs(path);
  const remove = (): void => {
    rmSync(path, { recursive: true, force: true });
    spare();
  };
  if (flite && sphinx && existsSync(join('/', MODELS))) {
    symlinkSync(flite, join(path, 'flite'));
    symlinkSync(sphinx, join(path, 'pocketsphinx_continuous'));
    return { path, remove };
  }
  const tree = await fromDebian({
    name: 'speech',
    packages: ['flite', 'pocketsphinx', 'pocketsphinx-en-us'],
    links: {
      'usr/bin/flite': 'usr/bin/flite',
      'usr/bin/pocketsphinx_continuous': 'usr/bin/pocketsphinx_continuous',
      [MODELS]: MODELS,
    },
    works,
  });
  for (const [name, words] of Object.entries(commandsOf(tree))) {
    const line = `#!/bin/sh\nLD_LIBRARY_PATH='${tree.env.LD_LIBRARY_PATH}' exec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`;
    writeFileSync(join(path, name), line, { mode: 0o755 });
  }
  return { path, remove };
}

/** Unpacked, pocketsphinx does not find its model by itself. */
function commandsOf({ root }: Tree): Record<'flite' | 'pocketsphinx_continuous', string[]> {
  const model = join(root, MODELS);
  return {
    flite: [join(root, 'usr/bin/flite')],
    pocketsphinx_continuous: [
      join(root, 'usr/bin/pocketsphinx_continuous'),
      '-hmm',
      join(model, 'en-us'),
      '-lm',
      join(model, 'en-us.lm.bin'),
      '-dict',
      join(model, 'cmudict-en-us.dict'),
    ],
  };
}

async function works(tree: Tree): Promise<boolean> {
  const { flite, pocketsphinx_continuous: sphinx } = commandsOf(tree);
  const { stdout } = await execute(flite[0] ?? '', ['-lv'], tree);
  // Loads its libraries and the model, and hears nothing.
  await execute(sphinx[0] ?? '', [...sphinx.slice(1), '-infile', '/dev/null', '-logfn', '/dev/null'], tree);
  return stdout.includes('slt');
}
