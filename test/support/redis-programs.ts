// Where redis-server and redis-cli come from: PATH, else Debian's packages.
//
// The package wanted is `redis-tools`, not `redis-server`: the program is in it (one binary, which does by its name),
// and it brings no system service that would start on the machine's port 6379.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromDebian, type Tree, which } from './debian.ts';

export interface RedisPrograms {
  server: string;
  cli: string;
  /** Their environment: libraries that are not the system's. */
  env: NodeJS.ProcessEnv;
}

const execute = promisify(execFile);

export async function findRedis(): Promise<RedisPrograms> {
  const found = onPath('redis-server', 'redis-cli') ?? onPath('valkey-server', 'valkey-cli');
  if (found) return found;
  const tree = await fromDebian({
    name: 'redis',
    packages: ['redis-tools'],
    links: { 'usr/bin/redis-server': 'usr/bin/redis-check-rdb', 'usr/bin/redis-cli': 'usr/bin/redis-cli' },
    works,
  });
  return programsOf(tree);
}

const programsOf = ({ root, env }: Tree): RedisPrograms => ({
  server: join(root, 'usr/bin/redis-server'),
  cli: join(root, 'usr/bin/redis-cli'),
  env,
});

async function works(tree: Tree): Promise<boolean> {
  const { server, cli, env } = programsOf(tree);
  const { stdout } = await execute(server, ['--version'], { env });
  await execute(cli, ['--version'], { env });
  return stdout.startsWith('Redis server');
}

function onPath(server: string, cli: string): RedisPrograms | null {
  const [atServer, atCli] = [server, cli].map((name) => which(name));
  return atServer && atCli ? { server: atServer, cli: atCli, env: process.env } : null;
}
