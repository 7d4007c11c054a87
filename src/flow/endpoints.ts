// Webhook endpoints as their owner makes and changes them. Under the account's lock: whoever writes events sees them as they
// were, or as they are.
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { persistently, readAs, transaction } from '../db/transaction.ts';
import { AppError, invalidRequest } from '../domain/errors.ts';
import { renderEvent } from '../domain/event.ts';
import { EVENT_PATTERNS, TERMINAL_EVENTS } from '../domain/event-types.ts';
import { isId, newId } from '../domain/ids.ts';
import { nearest } from '../domain/nearest.ts';
import { type CallResult, newSecret, OLD_SECRET_S, type Payload } from '../domain/webhook.ts';
import { lockAccounts } from '../store/accounts.ts';
import { endWaiting } from '../store/deliveries.ts';
import {
  changeEndpoint as writeChange,
  countEndpoints,
  deleteEndpoint,
  type Endpoint,
  ensureForJobs,
  findEndpoint,
  findForJobs,
  insertEndpoint,
  rotateSecret,
  secretsOf,
} from '../store/endpoints.ts';
import { callReceiver } from './call-receiver.ts';
import { disable } from './endpoint-standing.ts';
import { openSecret, sealSecret } from './endpoint-secret.ts';
import { webhookUrl } from './webhook-url.ts';

export const ENDPOINTS_MAX = 20;
const PATIENCE_MS = 12_000;
const END_MAX = 1_000;

export interface EndpointForm {
  url: string;
  events?: string[] | undefined;
  description?: string | undefined;
  payload?: Payload | undefined;
  enabled?: boolean | undefined;
}

/** Another account's is as unknown as nobody's. @throws AppError not_found */
export async function ownEndpoint(ctx: Context, accountId: string, id: string): Promise<Endpoint> {
  const found = isId('whe', id)
    ? await readAs(ctx.client, accountId, (tx) => findEndpoint(tx, accountId, id))
    : null;
  if (!found) throw new AppError('not_found');
  return found;
}

/** One with a URL of its own. @throws AppError not_found, invalid_request */
async function ownWithUrl(ctx: Context, accountId: string, id: string): Promise<Endpoint> {
  const endpoint = await ownEndpoint(ctx, accountId, id);
  if (!endpoint.forJobs) return endpoint;
  const message = "stands for single jobs' webhooks: only its secret can be changed";
  throw invalidRequest({ path: 'id', message, expected: 'an endpoint with a URL', received: id });
}

/** @returns the secret besides, which is not shown again. @throws AppError webhook_url_refused, invalid_request */
export async function createEndpoint(
  ctx: Context,
  accountId: string,
  form: EndpointForm,
): Promise<{ endpoint: Endpoint; secret: string }> {
  const { events = TERMINAL_EVENTS, description = '', payload = 'full', enabled = true } = form;
  const url = webhookUrl(ctx, form.url, 'url');
  assertKnown(events);
  const secret = newSecret();
  const id = newId('whe');
  const sealed = sealSecret(ctx, id, secret);
  const endpoint = await locked(ctx, accountId, async (tx) => {
    // A commit whose answer was lost has made it.
    const made = await findEndpoint(tx, accountId, id);
    if (made) return made;
    if ((await countEndpoints(tx, accountId)) >= ENDPOINTS_MAX) throw tooMany();
    await insertEndpoint(tx, { id, accountId, url, events, description, payload, enabled, secret: sealed });
    return findEndpoint(tx, accountId, id);
  });
  if (!endpoint) throw new Error('an endpoint that was made is not there');
  return { endpoint, secret };
}

/** @throws AppError invalid_request */
function assertKnown(events: readonly string[]): void {
  const at = events.findIndex((pattern) => !EVENT_PATTERNS.includes(pattern));
  const stranger = events[at];
  if (stranger === undefined) return;
  const like = nearest(stranger, EVENT_PATTERNS);
  const path = `events.${at}`;
  const message = `is no type of event that there is${like === null ? '' : `; did you mean ${like}?`}`;
  const issue = { path, message, expected: like ?? 'job.succeeded', received: stranger };
  throw invalidRequest(issue, `${path} ${message}${like === null ? '.' : ''}`);
}

function tooMany(): AppError {
  const message = `would be one more than the ${ENDPOINTS_MAX} that an account may have; delete one first`;
  return invalidRequest(
    { path: '', message, expected: `at most ${ENDPOINTS_MAX}`, received: ENDPOINTS_MAX + 1 },
    `The endpoint ${message}.`,
  );
}

/** Switching it off ends what waits for it; switching it on forgets what it failed at. @throws AppError as above */
export async function changeEndpoint(
  ctx: Context,
  { accountId, id }: { accountId: string; id: string },
  { enabled, url, ...form }: Partial<EndpointForm>,
): Promise<Endpoint> {
  await ownWithUrl(ctx, accountId, id);
  assertKnown(form.events ?? []);
  const change = {
    ...(url !== undefined && { url: webhookUrl(ctx, url, 'url') }),
    ...(Object.fromEntries(Object.entries(form).filter(([, value]) => value !== undefined)) as Partial<
      Pick<Endpoint, 'events' | 'description' | 'payload'>
    >),
  };
  await locked(ctx, accountId, (tx) =>
    writeChange(tx, { accountId, id, ...change, enable: enabled === true }),
  );
  if (enabled === false) await disable(ctx, { accountId, id, reason: 'client' });
  return ownEndpoint(ctx, accountId, id);
}

/** Ends what waits for it; its log stays as long as its events. @throws AppError not_found, invalid_request */
export async function removeEndpoint(ctx: Context, accountId: string, id: string): Promise<void> {
  await ownWithUrl(ctx, accountId, id);
  await locked(ctx, accountId, async (tx) => {
    await deleteEndpoint(tx, accountId, id);
    await endWaiting(tx, [id], END_MAX);
  });
}

/** A new secret; the one so far signs besides for a day. @throws AppError not_found */
export async function rotate(
  ctx: Context,
  accountId: string,
  id: string,
): Promise<{ endpoint: Endpoint; secret: string }> {
  await ownEndpoint(ctx, accountId, id);
  const secret = newSecret();
  const sealed = sealSecret(ctx, id, secret);
  // Not tried again: a second time the old secret would be the one nobody has seen.
  await transaction(ctx.flow, (tx) =>
    rotateSecret(tx, { accountId, id, secret: sealed, keepOldS: OLD_SECRET_S }),
  );
  return { endpoint: await ownEndpoint(ctx, accountId, id), secret };
}

/** The account's endpoint for single jobs' webhooks, made if it has none, with its secret. */
export async function endpointForJobs(
  ctx: Context,
  accountId: string,
): Promise<{ endpoint: Endpoint; secret: string }> {
  const find = () => readAs(ctx.client, accountId, (tx) => findForJobs(tx, accountId));
  let endpoint = await find();
  if (!endpoint) {
    const id = newId('whe');
    const made = { id, accountId, secret: sealSecret(ctx, id, newSecret()) };
    await locked(ctx, accountId, async (tx) => ensureForJobs(tx, [made]));
    endpoint = await find();
  }
  const sealed = endpoint && (await secretsOf(ctx.flow, accountId, endpoint.id));
  if (!endpoint || !sealed) throw new Error('an endpoint that was made is not there');
  return { endpoint, secret: openSecret(ctx, endpoint.id, sealed.secret) };
}

/** Calls it once, at once, with an event that is told nobody else. @throws AppError not_found, invalid_request */
export async function testEndpoint(
  ctx: Context,
  { accountId, livemode }: { accountId: string; livemode: boolean },
  id: string,
): Promise<CallResult & { eventId: string }> {
  const endpoint = await ownWithUrl(ctx, accountId, id);
  const sealed = await secretsOf(ctx.flow, accountId, id);
  if (!sealed) throw new AppError('not_found');
  const eventId = newId('ev');
  const head = { id: eventId, type: 'endpoint.test', sequence: 0n, at: new Date(), accountId, livemode };
  const result = await callReceiver(ctx, {
    url: endpoint.url,
    eventId,
    body: renderEvent(head, JSON.stringify({ id, object: 'endpoint', status: 'test', url: endpoint.url })),
    secrets: [sealed.secret, ...(sealed.oldSecret ? [sealed.oldSecret] : [])].map((secret) =>
      openSecret(ctx, id, secret),
    ),
  });
  return { ...result, eventId };
}

async function locked<T>(ctx: Context, accountId: string, work: (tx: Tx) => Promise<T>): Promise<T> {
  const attempt = async (tx: Tx): Promise<T> => {
    await lockAccounts(tx, [accountId]);
    return work(tx);
  };
  return persistently(() => transaction(ctx.flow, attempt), { forMs: PATIENCE_MS });
}
