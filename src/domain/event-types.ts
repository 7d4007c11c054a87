// What events are called (contract 11), and how a webhook endpoint says which of them it wants.

/** Those that are numbered and kept. An open list: clients ignore what they do not know. */
export const EVENT_TYPES = (
  'job.queued job.succeeded job.failed job.canceled job.expired batch.ended balance.low balance.depleted credits.granted ' +
  'credits.expiring credits.expired budget.warning budget.exhausted addon.charged addon.failed addon.disabled ' +
  'subscription.started subscription.renewed subscription.past_due subscription.canceled payment.succeeded payment.failed ' +
  'refund.requested refund.approved refund.denied refund.paid dispute.opened dispute.won dispute.lost account.restricted ' +
  'account.suspended account.reinstated account.closed key.created key.revoked key.expiring endpoint.failing ' +
  'endpoint.disabled model.deprecated model.removed artifact.expiring'
).split(' ');

/** What an endpoint is told that names none, and a single job's own webhook. */
export const TERMINAL_EVENTS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'];

/** A type, all of a subject (`job.*`), or all (`*`). */
export const EVENT_PATTERNS = [
  '*',
  ...new Set(EVENT_TYPES.map((type) => `${type.split('.')[0]}.*`)),
  ...EVENT_TYPES,
];

/** What each of them looks like. */
export const EVENT_PATTERN = '^(\\*|[a-z]+\\.(\\*|[a-z_]+))$';

/** As the database compares them too (`appendEvents`). */
export function wants(patterns: readonly string[], type: string): boolean {
  return ['*', `${type.split('.')[0]}.*`, type].some((pattern) => patterns.includes(pattern));
}
