// Tickets: made with a key, and good for no more and no longer than it.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import { sameHash } from '../domain/api-key.ts';
import { AppError } from '../domain/errors.ts';
import { isId } from '../domain/ids.ts';
import { hashTicket, makeTicket, ticketId } from '../domain/ticket.ts';
import { findJobs } from '../store/jobs.ts';
import {
  findTicket,
  insertTicket,
  type OpenTicket,
  removeOldTickets,
  spendTicket,
} from '../store/tickets.ts';

export interface TicketOrder {
  accountId: string;
  keyId: string;
  /** Null: all of the account's. */
  jobs: readonly string[] | null;
  forS: number;
}

/** @throws AppError not_found, naming the first job that is not the account's */
export async function giveTicket(
  ctx: Context,
  order: TicketOrder,
): Promise<{ ticket: string; expiresAt: Date }> {
  await assertOwn(ctx, order);
  const { id, token } = makeTicket();
  const secretHmac = hashTicket(ctx.secrets.pepper, token);
  return { ticket: token, expiresAt: await insertTicket(ctx.flow, { ...order, id, secretHmac }) };
}

async function assertOwn(ctx: Context, { accountId, jobs }: TicketOrder): Promise<void> {
  if (jobs === null) return;
  const wanted = jobs.filter((jobId) => isId('job', jobId)).map((jobId) => ({ accountId, jobId }));
  const own = await readAs(ctx.client, accountId, (tx) => findJobs(tx, wanted));
  const at = jobs.findIndex((jobId) => !own.has(jobId));
  if (at < 0) return;
  // Only an id is repeated: anything else may be content that went astray.
  const named = isId('job', jobs[at] ?? '') ? { job_id: jobs[at] } : {};
  throw new AppError('not_found', {
    message: `There is no such job, or it is not yours: jobs.${at}.`,
    details: { field: `jobs.${at}`, ...named },
  });
}

/** The ticket of this token while it is good; one that opens once has opened with that. @throws AppError ticket_invalid */
export async function takeTicket(ctx: Context, token: string): Promise<OpenTicket> {
  const id = ticketId(token);
  const found = id === null ? null : await findTicket(ctx.flow, id);
  if (!found || !sameHash(found.secretHmac, hashTicket(ctx.secrets.pepper, token)))
    throw new AppError('ticket_invalid');
  if (found.jobs === null && !(await spendTicket(ctx.flow, found.id))) throw new AppError('ticket_invalid');
  return found;
}

const PAGE = 500;
const PAGES = 20;

/** A task of the sweep, which does it once a minute. */
export async function removeTickets(ctx: Context): Promise<boolean> {
  for (let page = 0; page < PAGES; page++) if ((await removeOldTickets(ctx.flow, PAGE)) < PAGE) break;
  return false;
}
