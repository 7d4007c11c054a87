// What the document gives as an example is sent as it is, as a reader of /reference sends it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KINDS } from '../../src/domain/job.ts';
import { isAdmin, type Operation, operationsOf, readDocument } from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
let operations: Operation[];
beforeAll(async () => {
  millrace = await startPlatform({ worker: { queues: [...KINDS] } });
  account = await millrace.account();
  operations = operationsOf(await readDocument(millrace.admin));
});
afterAll(() => millrace.stop());

const named = ({ method, path }: Operation): string => `${method} ${path}`;

describe('the examples of the document', () => {
  it('are there for every JSON body', () => {
    const bodies = operations.filter(({ body, path }) => body !== null && path !== '/v1/artifacts');
    expect(bodies.length).toBeGreaterThan(8);
    for (const operation of bodies) expect(Object.keys(operation.examples), named(operation)).not.toEqual([]);
  });

  it('are accepted, one after the other', async () => {
    const spoken = await account.run({ model: 'sim/tts', input: { input: 'A mill' } });
    const ids: Record<string, string> = {
      '/v1/artifacts/{id}/links': spoken.output.audio.artifact_id,
      '/v1/admin/accounts/{id}': account.id,
      '/v1/admin/accounts/{id}/grants': account.id,
      '/v1/admin/models/{id}': 'vendor/mill-1',
    };
    for (const operation of operations)
      for (const [name, { value }] of Object.entries(operation.examples)) {
        const client = isAdmin(operation) ? millrace.admin : account;
        const path = operation.path.replace('{id}', ids[operation.path] ?? 'none');
        const { status, body } = await client.send(operation.method, path, { body: value });
        expect(status, `${named(operation)} ${name}: ${JSON.stringify(body)}`).toBeLessThan(300);
        if (operation.path === '/v1/webhook-endpoints')
          for (const then of ['', '/redeliver']) ids[`/v1/webhook-endpoints/{id}${then}`] = body.id;
        if (operation.path === '/v1/admin/routes') ids['/v1/admin/routes/{id}'] = body.id;
      }
  });

  it('of jobs are one of each kind, ask for no fault, and succeed where there is something to hear', async () => {
    const submit = operations.find((operation) => named(operation) === 'POST /v1/jobs');
    const examples = Object.entries(submit?.examples ?? {});
    expect(examples.map(([kind]) => kind)).toEqual(['chat', 'image', 'tts', 'stt']);
    for (const [kind, { value }] of examples) {
      expect(JSON.stringify(value)).not.toContain('"sim":');
      const job = await account.run(value as Record<string, unknown>);
      // The sound of any word would be thousands of letters: this one is silence.
      const silent = kind === 'stt';
      expect(job.kind).toBe(kind);
      expect([job.status, job.error?.code], kind).toEqual(
        silent ? ['failed', 'provider_rejected'] : ['succeeded', undefined],
      );
    }
  });
});

it('says of each parameter of a submission what it is', () => {
  const submit = operations.find((operation) => named(operation) === 'POST /v1/jobs');
  expect(submit?.parameters.map(({ name }) => name).toSorted()).toEqual([
    'dry_run',
    'idempotency-key',
    'prefer',
    'wait',
  ]);
  for (const { name, description } of submit?.parameters ?? []) expect(description, name).toMatch(/\w+ \w+/);
});
