// docker-compose.yml, held to what it names: variables, commands, files, ports and each other. Where no Docker engine runs,
// this and test/scenarios/topology.test.ts are what shows that it would.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { readConfig, VARIABLES } from '../../src/config.ts';
import { readSecrets } from '../../src/secrets.ts';
import { ROOT } from '../support/command.ts';
import {
  madeEnv,
  makeEnv,
  readCompose,
  readText,
  readYaml,
  type Service,
  variablesIn,
} from '../support/compose.ts';

const env = madeEnv();
const { services, volumes } = readCompose(env);
const all = Object.entries(services);
const ours = all.filter(([, { image }]) => image === 'millrace');
const service = (name: string): Service => services[name] as Service;
const portOf = (name: string, variable: string): string => service(name).environment?.[variable] ?? '';
/** The AWS SDK's own, which config.ts leaves to it. */
const OF_THE_SDK = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];

it('is written in words that Compose knows', () => {
  const text = { type: 'string' };
  const texts = { type: 'array', items: text };
  const map = (additionalProperties: object) => ({ type: 'object', additionalProperties });
  const closed = (properties: object, required: string[] = []) => ({
    type: 'object',
    properties,
    required,
    additionalProperties: false,
  });
  const length = { type: 'string', pattern: '^\\d+(ms|s|m|h)$' };
  const limits = closed(
    { cpus: { type: 'string', pattern: '^[\\d.]+$' }, memory: { type: 'string', pattern: '^\\d+[KMG]$' } },
    ['cpus', 'memory'],
  );
  const oneService = closed(
    {
      image: text,
      build: text,
      command: texts,
      environment: map(text),
      ports: { type: 'array', items: { type: 'string', pattern: '^([\\d.]+:)?\\d+:\\d+$' } },
      expose: { type: 'array', items: { type: 'string', pattern: '^\\d+$' } },
      volumes: { type: 'array', items: { type: 'string', pattern: '^[\\w./-]+:/[\\w./-]+(:ro)?$' } },
      depends_on: map(
        closed(
          { condition: { enum: ['service_started', 'service_healthy', 'service_completed_successfully'] } },
          ['condition'],
        ),
      ),
      healthcheck: closed({
        test: texts,
        disable: { const: true },
        interval: length,
        timeout: length,
        start_period: length,
        retries: { type: 'integer' },
      }),
      restart: { enum: ['no', 'always', 'on-failure', 'unless-stopped'] },
      init: { type: 'boolean' },
      security_opt: texts,
      cap_drop: texts,
      shm_size: text,
      stop_grace_period: length,
      deploy: closed({ replicas: { type: 'integer' }, resources: closed({ limits }, ['limits']) }, [
        'resources',
      ]),
    },
    ['image', 'restart', 'deploy'],
  );
  const schema = {
    ...closed({ name: text, services: map(oneService), volumes: map({ type: 'null' }) }, ['services']),
    patternProperties: { '^x-': {} },
  };
  const valid = new Ajv2020({ strict: false, allErrors: true }).compile(schema);
  expect(valid(readCompose(env)) ? [] : valid.errors).toEqual([]);
});

it('has two APIs, two workers and what they share', () => {
  expect(service('api').deploy.replicas).toBe(2);
  expect(service('worker').deploy.replicas).toBe(2);
  expect(Object.keys(services).toSorted()).toEqual(
    [
      'api',
      'bucket',
      'grafana',
      'migrate',
      'postgres',
      'prometheus',
      'proxy',
      's3',
      'valkey',
      'worker',
    ].toSorted(),
  );
  expect(service('valkey').command?.join(' ')).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/);
  for (const [name, { image }] of all) if (image !== 'millrace') expect(image, name).toMatch(/:v?\d/);
});

describe('its environment', () => {
  it.each(ours)(
    'of %s is what config.ts knows, and a start would take it',
    async (_name, { environment = {} }) => {
      for (const name of Object.keys(environment))
        expect([...Object.keys(VARIABLES), ...OF_THE_SDK]).toContain(name);
      const config = readConfig({ NODE_ENV: 'production', HOST: '0.0.0.0', ...environment });
      expect(config).toMatchObject({
        migrate: false,
        publicUrl: 'http://localhost:8080',
        s3: { bucket: 'millrace' },
      });
      const { keys } = await readSecrets({ ...config, dataDir: '/nowhere' });
      expect(keys).toHaveLength(1);
    },
  );

  it('has no secret in the file: each comes by a variable that .env.example names, and no other is named', () => {
    const raw = readYaml('docker-compose.yml') as { services: Record<string, Service> };
    for (const [name, { environment = {} }] of Object.entries(raw.services)) {
      for (const [variable, value] of Object.entries(environment))
        if (/PASSWORD|SECRET|KEY|PEPPER|_URL$/.test(variable) && !/^https?:\/\/[\w.:]+$/.test(value))
          expect(value, `${name} ${variable}`).toMatch(/\$\{\w+:\?/);
    }
    const used = new Set(variablesIn(readText('docker-compose.yml')));
    expect([...used].toSorted()).toEqual(Object.keys(env).toSorted());
    const { PUBLIC_URL, LISTEN, ...secrets } = env;
    expect([PUBLIC_URL, LISTEN]).toEqual(['http://localhost:8080', '127.0.0.1']);
    const made = madeEnv();
    for (const [name, value] of Object.entries(secrets)) {
      expect(value.length, name).toBeGreaterThanOrEqual(32);
      expect(made[name], name).not.toBe(value);
      if (name !== 'MILLRACE_SECRET_KEY') expect(value, name).toMatch(/^[a-z0-9]+$/);
      expect(() => readCompose({ ...env, [name]: '' })).toThrow(name);
    }
  });
});

it('gets its secrets in a file that nobody else may read, and never another in its place', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-env-'));
  const file = join(folder, '.env');
  makeEnv(file);
  const text = readFileSync(file, 'utf8');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(() => makeEnv(file)).toThrow(/is there already/);
  expect(readFileSync(file, 'utf8')).toBe(text);
  rmSync(folder, { recursive: true });
});

describe('its services', () => {
  it.each(ours)('%s runs a command that there is', (_name, { command = [] }) => {
    expect(existsSync(join(ROOT, command[0] ?? 'none'))).toBe(true);
  });

  it.each(all)('%s waits for what can be waited for', (_name, { depends_on = {} }) => {
    for (const [other, { condition }] of Object.entries(depends_on)) {
      const { healthcheck, image, restart } = service(other);
      if (condition === 'service_healthy')
        expect(healthcheck ? healthcheck.test : image, other).toEqual(
          healthcheck ? expect.any(Array) : 'millrace',
        );
      if (condition === 'service_completed_successfully') expect(restart, other).toBe('no');
    }
  });

  it.each(all)('%s has a look at its health, unless it ends by itself', (_name, one) => {
    if (one.restart === 'no') return expect(one.healthcheck).toEqual({ disable: true });
    return expect(one.image === 'millrace' || (one.healthcheck?.test?.length ?? 0) > 1).toBe(true);
  });

  it.each(all)('%s mounts what there is', (_name, { volumes: mounts = [] }) => {
    for (const mount of mounts) {
      const [from = ''] = mount.split(':');
      if (from.startsWith('.')) expect(existsSync(join(ROOT, from)), from).toBe(true);
      else expect(Object.keys(volumes)).toContain(from);
    }
  });

  it('share no folder between roles, and leave no volume unused', () => {
    for (const name of ['api', 'worker']) expect(service(name).volumes).toBeUndefined();
    const used = new Set(
      all.flatMap(([, { volumes: mounts = [] }]) => mounts.map((mount) => mount.split(':')[0])),
    );
    expect(Object.keys(volumes).filter((name) => !used.has(name))).toEqual([]);
  });

  it('have longer to stop than they take', () => {
    for (const [name, { stop_grace_period: grace = '', environment }] of ours) {
      expect(Number.parseInt(grace, 10), name).toBeGreaterThan(Number(environment?.['DRAIN_SECONDS']) + 5);
      // What process.ts gives a stop, drain and all.
      expect(Number.parseInt(grace, 10), name).toBeGreaterThan(25);
    }
  });
});

describe('its ports', () => {
  const at = (name: string, variable: string): string =>
    new URL(service(name).environment?.[variable] ?? '').host.replace(/^.*@/, '');

  it('of servers are where the roles look for them', () => {
    for (const [name] of ours) {
      expect(at(name, 'DATABASE_URL')).toBe('postgres:5432');
      expect(at(name, 'REDIS_URL')).toBe('valkey:6379');
      expect(at(name, 'S3_ENDPOINT')).toBe(`s3${portOf('s3', 'VGW_PORT')}`);
    }
    const { username, password, pathname } = new URL(portOf('api', 'DATABASE_URL'));
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = service('postgres').environment ?? {};
    expect([username, password, pathname.slice(1)]).toEqual([POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB]);
    expect(service('s3').healthcheck?.test?.join(' ')).toContain(`${portOf('s3', 'VGW_PORT')}/health`);
  });

  it('of the APIs are those the proxy leads to, from where it is published', () => {
    const proxy = readText('deploy/haproxy/haproxy.cfg');
    const sites = [...proxy.matchAll(/^frontend (\w+)\n\s*bind :(\d+)/gm)].map(([, name, outside]) => {
      const backend = new RegExp(`^backend ${name}\\n\\s*server-template \\S+ \\d+ (\\w+):(\\d+) `, 'm');
      return [outside, ...(backend.exec(proxy)?.slice(1) ?? [])];
    });
    expect(sites).toEqual([
      ['8080', 'api', portOf('api', 'PORT')],
      ['8081', 'api', portOf('api', 'ADMIN_PORT')],
    ]);
    const published = (service('proxy').ports ?? []).map((port) => port.split(':').at(-1));
    expect(published).toEqual(sites.map(([outside]) => outside));
    expect(new URL(env['PUBLIC_URL'] ?? '').port).toBe(published[0]);
    // Operators' port, and all that is not clients', is this machine's alone.
    for (const [name, { ports = [] }] of all)
      for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
  });

  it('of metrics are those that Prometheus asks, and Prometheus is where Grafana looks', () => {
    const { scrape_configs: jobs, rule_files: rules } = readYaml('deploy/prometheus/prometheus.yml') as {
      scrape_configs: { job_name: string; dns_sd_configs: { names: string[]; port: number }[] }[];
      rule_files: string[];
    };
    const asked = jobs.flatMap(({ dns_sd_configs: names }) =>
      names.map(({ names: [name], port }) => [name, `${port}`]),
    );
    expect(asked).toEqual([
      ['api', portOf('api', 'ADMIN_PORT')],
      ['worker', portOf('worker', 'METRICS_PORT')],
    ]);
    for (const file of rules) expect(existsSync(join(ROOT, file.replace('/etc', 'deploy'))), file).toBe(true);
    const { datasources } = readYaml('deploy/grafana/provisioning/datasources/prometheus.yml') as {
      datasources: { url: string; uid: string }[];
    };
    expect(datasources).toMatchObject([{ url: 'http://prometheus:9090', uid: 'prometheus' }]);
    const { providers } = readYaml('deploy/grafana/provisioning/dashboards/boards.yml') as {
      providers: { options: { path: string } }[];
    };
    const mounted = service('grafana').volumes?.find((mount) =>
      mount.includes(providers[0]?.options.path ?? 'none'),
    );
    expect(mounted).toMatch(/^\.\/deploy\/grafana\/boards:/);
  });
});
