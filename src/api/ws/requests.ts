// What each message is answered. The work is that of the routes: one job is submitted, shown and canceled in one way.
import { persistently } from '../../db/transaction.ts';
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { type Job, renderJob } from '../../domain/job-view.ts';
import { cancel } from '../../flow/cancel.ts';
import { PATIENCE_MS } from '../../flow/frame.ts';
import { prepare } from '../../flow/submit.ts';
import { keyedBy } from '../idempotency.ts';
import { admitJob, rawParts } from '../take-job.ts';
import { assertWithin } from '../ticket-scope.ts';
import { assertInput, asSubmission } from '../validate.ts';
import type { Connection } from './connection.ts';
import { jobText, type Said } from './messages.ts';
import { afterOf, subscribeAll, subscribeJobs } from './subscribe.ts';
import type { Following } from './told.ts';

type Of<T extends Said['type']> = Extract<Said, { type: T }>;

/** What HTTP takes submissions at: a key used there and here is one key. */
const SUBMIT_PATH = '/v1/jobs';

/** @throws AppError which becomes the answer */
export async function answer(following: Following, connection: Connection, said: Said): Promise<void> {
  switch (said.type) {
    case 'submit':
      return submit(following, connection, said);
    case 'subscribe':
      return subscribe(following, connection, said);
    case 'unsubscribe':
      return unsubscribe(connection, said);
    case 'get':
      return get(following, connection, said);
    case 'cancel':
      return cancelJob(following, connection, said);
    case 'ping':
      return connection.answer(reply('pong', said, `"at":"${new Date().toISOString()}"`));
  }
}

function reply(type: string, { ref }: { ref: string }, rest = ''): string {
  return `{"type":"${type}","ref":${JSON.stringify(ref)}${rest === '' ? '' : ','}${rest}}`;
}

const callerOf = ({ caller: { accountId, terms } }: Connection) => ({ accountId, slots: terms.slots });

/** @throws AppError scope_denied */
function assertWrites({ ticket }: Connection): void {
  if (!ticket?.jobs) return;
  throw new AppError('scope_denied', {
    message: 'A ticket for certain jobs only reads.',
    details: { needed: 'a key, or a ticket for all', granted: 'jobs' },
  });
}

async function submit(following: Following, connection: Connection, said: Of<'submit'>): Promise<void> {
  assertWrites(connection);
  const { api } = following;
  const { caller } = connection;
  if (caller.suspended) throw caller.suspended;
  const text = jobText(said.text);
  const key = said.idempotency_key;
  const body = asSubmission(said.job);
  const prepared = await prepare(api.ctx, caller, {
    body,
    ...rawParts(text),
    idempotency:
      key === undefined ? null : keyedBy(key, { field: 'idempotency_key', path: SUBMIT_PATH, body: text }),
    clientRequestId: null,
    assertInput,
  });
  const { job, replayed } = await admitJob(api, prepared);
  const followed = said.subscribe ? await follow(following, connection, job) : null;
  const extra = [
    `"job":${await shown(following, connection, job)}`,
    ...(replayed ? ['"replayed":true'] : []),
    ...(followed ? [`"subscription":"${followed.name}"`] : []),
  ];
  connection.answer(reply('job', said, extra.join()));
  followed?.begin();
}

/** The job is admitted: whatever fails now, the answer is that it is. */
async function shown({ api }: Following, connection: Connection, job: Job): Promise<string> {
  try {
    return (await api.shower.render(null, callerOf(connection), job)).json;
  } catch (error) {
    api.ctx.log.warn({ err: error, job: job.id }, 'an admitted job is shown without its place');
    return renderJob(job, { place: null, etaMs: null });
  }
}

/** Null: there is no room to follow it, which its client can see, and the job is admitted all the same. */
async function follow(
  following: Following,
  connection: Connection,
  { id }: Job,
): Promise<{ name: string; begin(): void } | null> {
  try {
    return await persistently(
      () => subscribeJobs(following, connection, { jobs: [id], after: 0n, deltas: true }),
      { forMs: PATIENCE_MS / 25 },
    );
  } catch (error) {
    if (!(error instanceof AppError))
      following.api.ctx.log.warn({ err: error, job: id }, 'an admitted job is not followed');
    return null;
  }
}

async function subscribe(following: Following, connection: Connection, said: Of<'subscribe'>): Promise<void> {
  const { jobs, after, ...rest } = said;
  const order = { ...rest, after: afterOf(after) };
  const stranger = Object.keys(said.deltas_after ?? {}).find((id) => !jobs.includes(id));
  if (jobs !== 'all' && stranger !== undefined)
    throw invalidRequest({
      path: 'deltas_after',
      message: 'names a job that jobs does not',
      expected: 'ids of jobs',
      received: 'another',
    });
  const { name, begin } =
    jobs === 'all'
      ? await subscribeAll(following, connection, order)
      : await subscribeJobs(following, connection, { ...order, jobs });
  connection.answer(reply('subscribed', said, `"subscription":"${name}"`));
  begin();
}

/** One that has ended by itself, as its jobs have, is no mistake: the client cannot know yet. */
function unsubscribe(connection: Connection, said: Of<'unsubscribe'>): void {
  const { subscription: name } = said;
  const known = connection.subscriptions.get(name);
  const number = /^s([1-9]\d{0,9})$/.exec(name)?.[1];
  if (!known && !(Number(number) <= connection.subscribed)) {
    throw new AppError('not_found', { message: 'This connection has no such subscription.' });
  }
  known?.stop();
  connection.subscriptions.delete(name);
  connection.answer(reply('ok', said));
}

async function get({ api }: Following, connection: Connection, said: Of<'get'>): Promise<void> {
  assertWithin(connection.ticket, said.job_id);
  const { json } = await api.shower.show(callerOf(connection), said.job_id);
  connection.answer(reply('job', said, `"job":${json}`));
}

async function cancelJob({ api }: Following, connection: Connection, said: Of<'cancel'>): Promise<void> {
  assertWrites(connection);
  const { accountId } = connection.caller;
  const jobId = said.job_id;
  await api.shower.show(callerOf(connection), jobId);
  await cancel(api.ctx, api.announcer, { accountId, jobId, by: 'client' });
  const { json } = await api.shower.show(callerOf(connection), jobId);
  connection.answer(reply('job', said, `"job":${json}`));
}
