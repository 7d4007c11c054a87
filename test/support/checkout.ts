// The project as another version of it: a copy of its files, with other migrations than ours.
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './command.ts';
import { goesWithUs } from './undertaker.ts';

export interface Checkout {
  folder: string;
  remove(): Promise<void>;
}

/** @param options.without names of migrations it lacks @param options.besides SQL of others, by name */
export async function copyCheckout({
  without = [],
  besides = {},
}: {
  without?: readonly string[];
  besides?: Record<string, string>;
}): Promise<Checkout> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const spare = goesWithUs(folder);
  for (const name of ['src', 'prisma', 'package.json'])
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const migrations = join(folder, 'prisma/migrations');
  for (const name of without) await rm(join(migrations, name), { recursive: true });
  for (const [name, sql] of Object.entries(besides)) {
    await mkdir(join(migrations, name));
    await writeFile(join(migrations, name, 'migration.sql'), sql);
  }
  return {
    folder,
    async remove() {
      await rm(folder, { recursive: true, force: true });
      spare();
    },
  };
}
