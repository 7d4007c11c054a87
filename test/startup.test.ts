// The commands themselves, as processes under plain Node: only these prove that the files run as they are, and what an
// operator sees of a start that cannot be.
import { readFileSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig, VARIABLES } from '../src/config.ts';
import { freePort } from '../src/embedded/port.ts';
import { dataFolder, type Folder } from './embedded/folder.ts';
import { alive, until } from './embedded/process.ts';
import { chat, openClient } from './support/client.ts';
import { type Command, ROOT, run, runNode } from './support/command.ts';
import { install, type Installation } from './support/platform.ts';
import { spawnApi, spawnWorker } from './support/spawn.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

interface Credentials {
  base_url: string;
  api_key: string;
  admin_key: string;
}

describe('npm start', () => {
  let folder: Folder;
  const started: Command[] = [];
  const start = (env: Record<string, string> = {}): Command => {
    const command = runNode(['src/main.ts'], {
      env: { MILLRACE_DATA_DIR: folder.dataDir, PORT: '0', ...env },
    });
    started.push(command);
    return command;
  };
  const address = async (command: Command) => (await command.said(/Millrace is at (\S+),/))[1] as string;
  const credentials = async () =>
    JSON.parse(await readFile(join(folder.dataDir, 'credentials.json'), 'utf8')) as Credentials;
  const services = async () => [(await folder.postmaster())?.pid ?? null, folder.sim()];
  beforeAll(async () => {
    folder = await dataFolder();
  });
  afterEach(async () => {
    for (const command of started.splice(0)) {
      command.signal('SIGTERM');
      await command.ended;
    }
    await folder.quiet();
  });
  afterAll(() => folder.remove());

  it('serves, says where and how, and stops with everything it started', async () => {
    const command = start();
    const url = await address(command);
    const file = await credentials();
    expect(file).toEqual({
      base_url: url,
      api_key: expect.stringMatching(/^mr_live_/),
      admin_key: expect.stringMatching(/^mr_admin_/),
    });
    expect(statSync(join(folder.dataDir, 'credentials.json')).mode & 0o777).toBe(0o600);
    const { body } = await openClient(url, file.api_key).post('/v1/jobs?wait=30', chat());
    expect(body.status).toBe('succeeded');

    command.signal('SIGTERM');
    expect(await command.ended).toBe(0);
    expect(await services()).toEqual([null, null]);
    // What is no terminal may be a file: it has the log alone, and no key.
    expect(command.out).toEqual([]);
    expect(command.err.join('\n')).not.toMatch(/mr_(live|test|admin)_/);
    // One JSON object a line, of time, level and words.
    for (const line of command.err) {
      expect(JSON.parse(line)).toMatchObject({ level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/) });
    }
  });

  it('runs beside another on its data folder, and credentials.json names one that is there', async () => {
    const first = start();
    const one = await address(first);
    const second = start();
    const two = await address(second);
    expect(two).not.toBe(one);
    const { api_key: key, base_url: named } = await credentials();
    expect(named).toBe(one);
    const [postmaster] = await services();
    for (const url of [one, two]) expect((await openClient(url, key).run(chat())).status).toBe('succeeded');

    first.signal('SIGKILL');
    await first.ended;
    await until('the one that is left is named', async () => (await credentials()).base_url === two);
    expect((await services())[0]).toBe(postmaster);
    second.signal('SIGTERM');
    expect(await second.ended).toBe(0);
    expect(await services()).toEqual([null, null]);
  });

  it('leaves what it had started when its port is taken, and says which and what to do', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => holder.once('listening', resolve));
    const { port } = holder.address() as { port: number };
    const command = start({ PORT: String(port) });
    expect(await command.ended).toBe(1);
    holder.close();
    expectOneLine(command, new RegExp(`Port ${port} of 127\\.0\\.0\\.1 is in use.*PORT=`));
    expect(await services()).toEqual([null, null]);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'heeds a %s that comes during the start',
    async (signal) => {
      const command = start();
      await command.said(/simulator/);
      // Twice, as a terminal and npm together send a Ctrl-C.
      command.signal(signal);
      command.signal(signal);
      expect(await command.ended).toBe(0);
      expect(await services()).toEqual([null, null]);
    },
  );

  it('stops when npm is told to, which hands the signal on to nobody but its own child', async () => {
    const npm = run('npm', ['start'], { env: { MILLRACE_DATA_DIR: folder.dataDir, PORT: '0' } });
    await npm.said(/Millrace is at/);
    const [, pid] = await npm.said(/"pid":(\d+)/);
    npm.signal('SIGTERM');
    await npm.ended;
    await until('the platform is gone', () => !alive(Number(pid)));
    expect(await services()).toEqual([null, null]);
  });
});

describe('a start that cannot be', () => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await install('postgres');
  });
  afterAll(() => installation.remove());

  it.each([
    [{ PORT: 'eighty' }, /PORT is "eighty"; it must be a whole number from 0 to 65535/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL is "loud"; it must be one of fatal, error/],
    [{ DATABASE_URL: 'mysql://127.0.0.1/x' }, /DATABASE_URL must be a URL that begins with postgres:/],
    [
      { DATABASE_URL: 'postgres://me:hush@127.0.0.1:1/mill' },
      /DATABASE_URL names 127\.0\.0\.1:1\/mill.*ECONNREFUSED/,
    ],
    [
      { DATABASE_URL: 'postgres://me:hush@nowhere.invalid/mill' },
      /nowhere\.invalid.*Correct the host in DATABASE_URL/,
    ],
    [{ REDIS_URL: 'redis://:hush@127.0.0.1:1' }, /REDIS_URL names 127\.0\.0\.1:1.*ECONNREFUSED/],
    [{ MILLRACE_KEY_PEPPER: 'hush' }, /MILLRACE_KEY_PEPPER must be 32 bytes or more/],
    [{ MILLRACE_SECRET_KEY: 'hush' }, /MILLRACE_SECRET_KEY must be 32 bytes in base64/],
    [{ MILLRACE_DATA_DIR: '/dev/null/millrace' }, /data folder \/dev\/null\/millrace.*MILLRACE_DATA_DIR/],
    [{ HOST: 'nowhere.invalid' }, /HOST=nowhere\.invalid is no address.*0\.0\.0\.0/],
  ] as [Record<string, string>, RegExp][])('%o: one line that names it', async (env, line) => {
    const command = runNode(['src/main.ts'], { env: { ...installation.env, ...env } });
    expect(await command.ended).toBe(1);
    expectOneLine(command, line);
    expect([...command.out, ...command.err].join('\n')).not.toContain('hush');
  });

  it.each([
    [{ PORT: '65536' }, /PORT is "65536"; it must be a whole number from 0 to 65535/],
    [{ DRAIN_SECONDS: '25' }, /DRAIN_SECONDS is "25"; .* from 0 to 24/],
    [{ LEASE_MS: '1.5' }, /LEASE_MS is "1.5"/],
    [{ PUBLIC_URL: 'example.com' }, /PUBLIC_URL must be a URL that begins with http:/],
  ])('%o is refused by name', (env, line) => {
    expect(() => readConfig(env)).toThrow(line);
  });

  it('names a wrong password without repeating it', async () => {
    const url = (installation.env['DATABASE_URL'] ?? '').replace(/:\w+@/, ':hush@');
    const command = runNode(['src/api/main.ts'], { env: { ...installation.env, DATABASE_URL: url } });
    expect(await command.ended).toBe(1);
    expectOneLine(command, /password authentication failed.*Correct DATABASE_URL/);
    expect(command.err.join('\n')).not.toContain('hush');
  });

  it('refuses the pepper of another installation, since no key would be valid', async () => {
    const first = runNode(['src/migrate.ts'], { env: installation.env });
    expect(await first.ended).toBe(0);
    const env = { ...installation.env, MILLRACE_KEY_PEPPER: 'another pepper that is long enough, at last' };
    const command = runNode(['src/workers/main.ts'], { env });
    expect(await command.ended).toBe(1);
    expectOneLine(
      command,
      /made with another MILLRACE_KEY_PEPPER. Set it to what is called pepper in secrets\.json/,
    );
  });
});

describe('the roles', () => {
  it.each(['postgres', 'redis'] as const)('work apart on %s, and stop on SIGTERM', async (backend) => {
    const installation = await install(backend);
    const api = await spawnApi(installation);
    const worker = await spawnWorker(installation, { queues: 'chat,image', concurrency: 5 });
    const { api_key: key } = JSON.parse(
      await readFile(join(installation.dataDir, 'credentials.json'), 'utf8'),
    ) as Credentials;
    const client = openClient(api.url, key);
    expect((await client.run(chat())).status).toBe('succeeded');
    const audit = runNode(['src/audit.ts', '--json'], { env: installation.env });
    expect(await audit.ended).toBe(0);
    expect(JSON.parse(audit.out.join('\n'))).toMatchObject({ ok: true, breaches: [] });
    expect(await Promise.all([worker.drain(), api.drain()])).toEqual([0, 0]);
    await installation.remove();
  });
});

describe('an API that listens on every address', () => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await install('postgres');
  });
  afterAll(() => installation.remove());
  const credentials = async () =>
    JSON.parse(await readFile(join(installation.dataDir, 'credentials.json'), 'utf8')) as Credentials;
  const FORM = '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n';
  /** The links it hands out, as far as they lead anywhere without a job. */
  async function link(url: string): Promise<string> {
    const client = openClient(url, (await credentials()).api_key);
    const { body: artifact } = await client.post('/v1/artifacts', FORM, {
      'content-type': 'multipart/form-data; boundary=x',
    });
    const made = await client.post(`/v1/artifacts/${artifact.id}/links`, { expires_in_s: 900 });
    expect(made.status).toBe(201);
    return made.body.url as string;
  }
  const warnings = (log: string[]) => log.filter((line) => line.includes('"level":"warn"'));

  it('calls itself localhost in links, and says that PUBLIC_URL should be set', async () => {
    const api = await spawnApi(installation, { HOST: '0.0.0.0' });
    expect(api.url).toMatch(/^http:\/\/localhost:\d+$/);
    expect((await credentials()).base_url).toBe(api.url);
    const url = await link(api.url);
    expect(url).toMatch(new RegExp(`^${api.url}/v1/artifacts/`));
    expect(await (await fetch(url)).text()).toBe('hello');
    expect(warnings(api.log)).toEqual([
      expect.stringMatching(/HOST=0\.0\.0\.0 .*http:\/\/localhost:\d+.*Set PUBLIC_URL/),
    ]);
    expect(await api.drain()).toBe(0);
  });

  it('uses PUBLIC_URL where it is set, and then has nothing to say', async () => {
    const PORT = String(await freePort());
    const PUBLIC_URL = 'https://mill.example/api';
    const api = await spawnApi(installation, { HOST: '0.0.0.0', PORT, PUBLIC_URL });
    expect(await link(`http://127.0.0.1:${PORT}`)).toMatch(/^https:\/\/mill\.example\/api\/v1\/artifacts\//);
    expect(warnings(api.log)).toEqual([]);
    expect(await api.drain()).toBe(0);
  });
});

describe('every command', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const ours = Object.entries(scripts).filter(([, script]) => script.endsWith('.ts'));

  it('is seen here', () => {
    expect(ours.map(([name]) => name)).toEqual(
      expect.arrayContaining(['start', 'api', 'worker', 'demo', 'audit', 'migrate', 'admin-key', 'bench']),
    );
  });

  it.each(ours)("%s takes the place of npm's shell, and looks at its Node first", (_name, script) => {
    expect(script).toMatch(/^exec node (--[\w=-]+ )*--import \.\/tools\/require-node\.mjs \S+\.ts$/);
  });

  it.each(ours)('%s has a help', async (name, script) => {
    const help = runNode([script.split(' ').at(-1) as string, '--help']);
    expect(await help.ended).toBe(0);
    expect(help.out[0]).toMatch(new RegExp(`^Usage: npm (run )?${name} `));
  });

  it.each([
    ['src/main.ts', ['PORT', 'LEASE_MS', 'DATABASE_URL'], []],
    ['src/api/main.ts', ['PORT', 'CORS_ORIGINS', 'DRAIN_SECONDS', 'DATABASE_URL'], ['LEASE_MS', 'SWEEP_MS']],
    [
      'src/workers/main.ts',
      ['PUBLIC_URL', 'LEASE_MS', 'DRAIN_SECONDS', 'DATABASE_URL'],
      ['PORT', 'CORS_ORIGINS'],
    ],
    [
      'src/audit.ts',
      ['DATABASE_URL', 'MILLRACE_DATA_DIR', 'LOG_LEVEL'],
      ['PORT', 'LEASE_MS', 'DRAIN_SECONDS'],
    ],
  ])('the help of %s names the variables that matter to it, and no others', async (file, some, none) => {
    const help = runNode([file, '--help']);
    expect(await help.ended).toBe(0);
    const named = help.out.flatMap((line) => /^  ([A-Z0-9_]+)  +\S.*\[.+\]$/.exec(line)?.[1] ?? []);
    expect(named).toEqual(expect.arrayContaining(some));
    expect(named.filter((name) => (none as string[]).includes(name))).toEqual([]);
    // The whole platform reads all but what is for its clients.
    const all = Object.keys(VARIABLES).filter((name) => !['MILLRACE_URL', 'MILLRACE_API_KEY'].includes(name));
    if (file === 'src/main.ts') expect(named).toEqual(all);
  });

  it.each(['src/main.ts', 'src/workers/main.ts', 'demo/main.ts'])(
    '%s refuses what it does not know',
    async (file) => {
      const unknown = runNode([file, '--no-such-option']);
      expect(await unknown.ended).toBe(1);
      expect(unknown.err).toEqual([expect.stringMatching(/unknown option '--no-such-option'/)]);
    },
  );

  it('ends in one line on a Node that is too old', async () => {
    const older = `data:text/javascript,${encodeURIComponent(
      `Object.defineProperty(process, 'versions', { value: { node: '20.20.2' } })`,
    )}`;
    const command = run(
      process.execPath,
      ['--import', older, '--import', './tools/require-node.mjs', 'src/main.ts'],
      {},
    );
    expect(await command.ended).toBe(1);
    expect(command.err).toEqual([expect.stringMatching(/Node 24 or newer is needed.*npm (ci|rebuild node)/)]);
  });
});

/** Besides its log, which is JSON, it said one thing. */
function expectOneLine(command: Command, line: RegExp): void {
  const said = command.err.filter((one) => !one.startsWith('{"level":"info"'));
  expect(said).toEqual([expect.stringMatching(line)]);
  expect(said[0]).toMatch(/^millrace: /);
}
