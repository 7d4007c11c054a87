// A thousand jobs, and receivers that fail at every fourth call, each in another way: nothing is missing, and nobody got other bytes.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Answer, ANSWERS, type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { makeEndpoint } from '../support/webhooks.ts';

const JOBS = 1_000;

let millrace: TestPlatform;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
});
afterAll(async () => {
  await receiver.close();
  await millrace.stop();
});

const status =
  (code: number): Answer =>
  (_, response) =>
    response.writeHead(code, { location: 'http://127.0.0.1:1/' }).end();
const FAULTS: Answer[] = [ANSWERS.die, ANSWERS.reset, ...[301, 404, 429, 500, 503].map(status)];

it('of a thousand jobs every end comes to every endpoint, as every other channel has it', async () => {
  const account = await millrace.account({ overrides: { slots: 50, line_length: 2_000 } });
  const endpoints = await Promise.all(
    [1, 2].map((i) => makeEndpoint(account, receiver.url(`/thousand/${i}`))),
  );
  for (const i of [1, 2]) {
    const met = new Set<string>();
    let calls = 0;
    receiver.answers(`/thousand/${i}`, (request, response) => {
      const id = request.headers['webhook-id'] as string;
      const first = !met.has(id);
      met.add(id);
      const fault = FAULTS[calls++ % (4 * FAULTS.length)];
      if (first && fault) fault(request, response);
      else response.end();
    });
  }
  const jobs = Array.from({ length: JOBS }, (_, i) => ({
    model: 'sim/chat',
    input: { messages: [{ role: 'user', content: `Job ${i}` }], max_tokens: 5 },
    metadata: { i: String(i) },
  }));
  const { body } = await account.post('/v1/jobs/batch', { jobs });
  const ids: string[] = body.data.map(({ job }: { job: { id: string } }) => job.id);
  expect(ids).toHaveLength(JOBS);
  await eventually(
    async () => {
      const [left] = await millrace.sql<{ count: number }>(
        `select count(*)::int as count from deliveries where account_id = $1 and status <> 'delivered'`,
        [account.id],
      );
      const [all] = await millrace.sql<{ count: number }>(
        `select count(*)::int as count from deliveries where account_id = $1`,
        [account.id],
      );
      return left?.count === 0 && all?.count === 2 * JOBS;
    },
    { what: 'all were delivered', withinMs: 90_000, everyMs: 250 },
  );
  const kept = await millrace.sql<{ id: string; body: string; job: string }>(
    `select id, body, job_id as job from events where account_id = $1 and type = 'job.succeeded'`,
    [account.id],
  );
  expect(new Set(kept.map(({ job }) => job))).toEqual(new Set(ids));
  const bodies = new Map(kept.map(({ id, body }) => [id, body]));
  const streamed = await account.events('/v1/events?after=start', {
    until: ({ id }) => Number(id) >= 2 * JOBS + 1,
  });
  for (const { data, event } of streamed)
    if (event === 'job.succeeded') expect(bodies.get((JSON.parse(data) as { id: string }).id)).toBe(data);
  for (const [n, { secret }] of endpoints.entries()) {
    const came = receiver.at(`/thousand/${n + 1}`);
    expect(came.length).toBeGreaterThan(JOBS);
    expect(new Set(came.map(({ id }) => id))).toEqual(new Set(bodies.keys()));
    for (const call of came) expect(call.body).toBe(bodies.get(call.id));
    for (const call of came.slice(0, 100)) verify(secret as string, call);
    expect(receiver.open(`/thousand/${n + 1}`).most).toBeLessThanOrEqual(4);
  }
}, 120_000);
