// What a connection follows: all of the account's events, or some of its jobs. Backlog comes at the reader's pace; then
// whoever follows everything is told what happens as it happens, with all the others who do.
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { assertWithin } from '../ticket-scope.ts';
import { AllEvents } from './all-events.ts';
import type { Connection } from './connection.ts';
import { wanted } from './frames.ts';
import { SomeJobs } from './some-jobs.ts';
import type { Following, Order } from './told.ts';

export const SUBSCRIPTIONS_MAX = 100;
/** Of all its subscriptions together: each costs a look whenever its job moves. */
const FOLLOWED_MAX = 1_000;

export const afterOf = (after: number | 'now' | 'start' | undefined): bigint | null =>
  after === 'now' ? null : after === undefined || after === 'start' ? 0n : BigInt(after);

/** Begins once the answer is out; what "now" is, is known before that. @throws AppError too_many_connections */
export async function subscribeAll(
  following: Following,
  connection: Connection,
  order: Order,
): Promise<{ name: string; begin(): void }> {
  assertWithin(connection.ticket, null);
  if (order.deltas || order.deltas_after)
    throw invalidRequest({
      path: order.deltas ? 'deltas' : 'deltas_after',
      message: 'is for subscriptions to named jobs',
      expected: 'no such field',
      received: 'a value',
    });
  const name = nameNext(connection);
  const all = new AllEvents(following, { connection, name, wanted: wanted(order.events) });
  connection.subscriptions.set(name, all);
  try {
    const { accountId } = connection.caller;
    const after = order.after ?? (await following.reader.start(accountId, null)).at;
    return { name, begin: () => void all.catchUp(after) };
  } catch (error) {
    connection.subscriptions.delete(name);
    throw error;
  }
}

/** @throws AppError not_found, naming the first that is not the account's; too_many_connections */
export async function subscribeJobs(
  { api }: Following,
  connection: Connection,
  { jobs, ...order }: Order & { jobs: readonly string[] },
): Promise<{ name: string; begin(): void }> {
  const ids = [...new Set(jobs)];
  for (const id of ids) assertWithin(connection.ticket, id);
  const name = nameNext(connection);
  const some = new SomeJobs(api, { connection, name, wanted: wanted(order.events) }, order.deltas === true);
  assertRoom(connection, ids.length);
  connection.subscriptions.set(name, some);
  try {
    const newest = await some.open(ids, order);
    return { name, begin: () => some.begin(newest) };
  } catch (error) {
    some.stop();
    connection.subscriptions.delete(name);
    throw error;
  }
}

function nameNext(connection: Connection): string {
  // It went while its job was admitted: nobody would ever stop what began now.
  if (!connection.isOpen) throw new AppError('overloaded');
  if (connection.subscriptions.size >= SUBSCRIPTIONS_MAX)
    throw new AppError('too_many_connections', {
      message: `This connection has ${SUBSCRIPTIONS_MAX} subscriptions. Unsubscribe from one, or name more jobs in each.`,
      details: { max: SUBSCRIPTIONS_MAX },
    });
  return `s${++connection.subscribed}`;
}

function assertRoom(connection: Connection, more: number): void {
  let followed = more;
  for (const one of connection.subscriptions.values()) if (one instanceof SomeJobs) followed += one.following;
  if (followed > FOLLOWED_MAX)
    throw new AppError('too_many_connections', {
      message: `This connection follows ${FOLLOWED_MAX} jobs by name. Unsubscribe from some, or from all and follow "all".`,
      details: { max: FOLLOWED_MAX },
    });
}
