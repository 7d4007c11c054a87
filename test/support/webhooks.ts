// Endpoints and their deliveries, as an account sees them.
import { eventually } from './eventually.ts';
import { chat, type Client, type Json } from './client.ts';
import type { TestPlatform } from './platform.ts';

/** Makes one, and answers it with its secret. */
export async function makeEndpoint(
  account: Client,
  url: string,
  form: Record<string, unknown> = {},
): Promise<Json> {
  const { status, body } = await account.post('/v1/webhook-endpoints', { url, ...form });
  if (status !== 201) throw new Error(`refused: ${status} ${JSON.stringify(body)}`);
  return body;
}

/** An endpoint's deliveries, newest first. */
export async function deliveriesOf(account: Client, endpointId: string, query = ''): Promise<Json[]> {
  const { status, body } = await account.get(
    `/v1/webhook-endpoints/${endpointId}/deliveries?limit=100&${query}`,
  );
  if (status !== 200) throw new Error(`refused: ${status} ${JSON.stringify(body)}`);
  return body.data as Json[];
}

/** Its only delivery, once it is as asked. */
export async function delivery(
  account: Client,
  endpointId: string,
  is: (delivery: Json) => boolean,
  withinMs = 30_000,
): Promise<Json> {
  let last: Json = null;
  return eventually(
    async () => {
      [last] = await deliveriesOf(account, endpointId);
      return last !== undefined && is(last) ? last : null;
    },
    { what: 'the delivery is as it should be', withinMs },
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}`, { cause: error });
  });
}

/** An event without any work: a job is submitted where nobody serves its queue, and canceled. Answers its id. */
export async function canceledJob(account: Client, job: Record<string, unknown> = {}): Promise<string> {
  const { id } = await account.submit({ ...chat('never run'), ...job });
  const { status } = await account.post(`/v1/jobs/${id}/cancel`);
  if (status !== 200) throw new Error(`not canceled: ${status}`);
  return id as string;
}

/** Moves the database's clock, and has everybody look. */
export async function shiftClock({ sql, platform }: TestPlatform, seconds: number): Promise<void> {
  await sql(`update clock set shift = shift + make_interval(secs => $1)`, [seconds]);
  platform.ctx.bus.publish([{ type: 'deliveries' }]);
}
