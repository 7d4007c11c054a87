import { Type } from 'typebox';
import { AppError } from '../domain/errors.ts';

/** Where a ticket may stand instead of a key, and how the document says so. */
export const Ticket = Type.Optional(Type.String({ description: 'From POST /v1/tickets, instead of a key.' }));
export const TICKET_OR_KEY = [{ key: [] }, { ticket: [] }];

/** What a ticket allows whom it let in. */
export interface TicketScope {
  /** Null: all that is the account's. */
  jobs: ReadonlySet<string> | null;
  /** When it is over, as performance.now() tells time; Infinity: not before its key. */
  until: number;
}

/** @param jobId null: all of the account's. @throws AppError scope_denied */
export function assertWithin(ticket: TicketScope | undefined, jobId: string | null): void {
  if (!ticket?.jobs || (jobId !== null && ticket.jobs.has(jobId))) return;
  throw new AppError('scope_denied', {
    message: 'This ticket is for certain jobs, and this is none of them.',
    details: { needed: jobId === null ? 'all' : 'a ticket for this job', granted: 'jobs' },
  });
}
