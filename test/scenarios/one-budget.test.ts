// A thousand submissions at once, through two API processes, of an account that can pay for ten.
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { type Client, type Json, openClient } from '../support/client.ts';
import { type Installation, install, makeAccount, type TestAccount } from '../support/platform.ts';
import { type Role, spawnApi } from '../support/spawn.ts';

const RUNS = 20;
const SUBMISSIONS = 1_000;
const AFFORDABLE = 10;
const JOB = {
  model: 'sim/chat',
  input: { messages: [{ role: 'user', content: 'Grind this.' }], max_tokens: 40 },
};

interface Submitted {
  key: string | null;
  status: number;
  replayed: boolean;
  body: Json;
}

describe('a budget for ten jobs, spent by a thousand', () => {
  let installation: Installation;
  let apis: Role[];
  let admin: Client;
  // A socket for each submission, so that none waits for another on our side.
  const agent = new Agent({ connections: SUBMISSIONS / 2, pipelining: 1 });

  beforeAll(async () => {
    installation = await install('postgres');
    apis = await Promise.all([spawnApi(installation), spawnApi(installation)]);
    const credentials = await readCredentials(readConfig(installation.env));
    admin = openClient(apis[0]!.url, credentials?.admin_key ?? null);
  });
  afterAll(async () => {
    await agent.destroy();
    await Promise.all(apis.map((api) => api.drain()));
    await installation.remove();
  });

  async function submit({ key: secret }: TestAccount, key: string | null, api: Role): Promise<Submitted> {
    const { statusCode, headers, body } = await request(`${api.url}/v1/jobs`, {
      method: 'POST',
      dispatcher: agent,
      headers: {
        authorization: `Bearer ${secret}`,
        'content-type': 'application/json',
        ...(key === null ? {} : { 'idempotency-key': key }),
      },
      body: JSON.stringify(JOB),
    });
    const replayed = headers['idempotent-replayed'] === 'true';
    return { key, status: statusCode, replayed, body: await body.json() };
  }

  /** In a random order: a third without a key, a third with one of their own, a third as two or three twins each. */
  function requests(): { key: string | null; api: Role }[] {
    const keys: (string | null)[] = [];
    for (let i = 0; keys.length < SUBMISSIONS; i++) {
      if (i % 3 === 0) keys.push(null);
      else if (i % 3 === 1) keys.push(`one-${i}`);
      else keys.push(...Array.from({ length: 2 + (i % 2) }, () => `twin-${i}`));
    }
    return keys
      .slice(0, SUBMISSIONS)
      .map((key) => ({ key, at: Math.random() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ key }, i) => ({ key, api: apis[i % 2]! }));
  }

  it('admits exactly ten, twins as one, in each of twenty runs', { timeout: 180_000 }, async () => {
    let twinsAdmitted = 0;
    for (let run = 0; run < RUNS; run++) {
      const probe = await makeAccount(apis[0]!.url, admin, { credits: 0 });
      const { body: quote } = await probe.post('/v1/jobs?dry_run=true', JOB);
      const hold = quote.hold.credits as number;
      // One credit short of an eleventh.
      const account = await makeAccount(apis[0]!.url, admin, { credits: hold * (AFFORDABLE + 1) - 1 });

      const answers = await Promise.all(requests().map(({ key, api }) => submit(account, key, api)));

      const admitted = answers.filter(({ status }) => status === 202);
      expect(new Set(admitted.map(({ body }) => body.id)).size).toBe(AFFORDABLE);
      expect(admitted.filter(({ replayed }) => !replayed)).toHaveLength(AFFORDABLE);
      twinsAdmitted += admitted.length - AFFORDABLE;

      const refused = answers.filter(({ status }) => status !== 202);
      expect(refused.some(({ replayed }) => replayed)).toBe(false);
      for (const { status, body } of refused) {
        expect({ status, code: body.code, retryable: body.retryable }).toEqual({
          status: 403,
          code: 'out_of_credits',
          retryable: false,
        });
        // Nobody is refused before the ten are in, nor told of more or less than what they left.
        expect(body.details).toEqual({
          required: hold,
          available: hold - 1,
          held: hold * AFFORDABLE,
          shortfall: 1,
          bound_that_fits: { max_output_tokens: 39 },
        });
      }

      // Of one key all copies were admitted, as one job, or all refused.
      for (const copies of Map.groupBy(answers, ({ key }) => key ?? '').entries()) {
        if (copies[0] === '') continue;
        const ids = new Set(copies[1].map(({ status, body }) => (status === 202 ? body.id : 'refused')));
        expect([...ids], copies[0]).toHaveLength(1);
      }

      const rows = await installation.sql<{ status: string; hold: string; keys: number }>(
        `select status, hold, (select count(*)::int from idempotency_keys k where k.account_id = j.account_id) as keys
          from jobs j where account_id = $1`,
        [account.id],
      );
      const keyed = admitted.filter(({ key, replayed }) => key !== null && !replayed).length;
      expect(rows).toEqual(
        Array.from({ length: AFFORDABLE }, () => ({ status: 'queued', hold: String(hold), keys: keyed })),
      );
      const { body: me } = await account.get('/v1/account');
      expect(me.balance).toMatchObject({
        available: { credits: hold - 1 },
        held: { credits: hold * AFFORDABLE },
      });
    }
    // Or the twins would have proven nothing.
    expect(twinsAdmitted).toBeGreaterThan(0);
    const { body: audit } = await admin.get('/v1/admin/invariants');
    expect(audit).toMatchObject({ ok: true, breaches: [] });
  });
});
