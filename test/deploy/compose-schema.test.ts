// docker-compose.yml against the Compose Specification's own schema (Apache-2.0), as the package dclint carries it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { expect, it } from 'vitest';
import { madeEnv, readCompose, readYaml } from '../support/compose.ts';

const dclint = createRequire(import.meta.url).resolve('dclint/package.json');
const path = join(dclint, '../schemas/compose.schema.json');
const { $schema: _, ...schema } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
const valid = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schema);

it('is as the specification says, before and after its variables are filled in', () => {
  for (const compose of [readYaml('docker-compose.yml'), readCompose(madeEnv())])
    expect(valid(compose) ? [] : valid.errors).toEqual([]);
});

it('would not be with a word that Compose does not know', () => {
  const { services, ...rest } = readCompose(madeEnv());
  const misspelt = { ...services, api: { ...services['api'], depend_on: {} } };
  expect(valid({ ...rest, services: misspelt })).toBe(false);
});
