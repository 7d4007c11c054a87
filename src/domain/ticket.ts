// Tickets: what lets a browser in, which cannot send a key. `tkt_<26 of the id><32 of a secret>`; only an HMAC is stored.
import { createHmac, randomBytes } from 'node:crypto';
import { newId } from './ids.ts';

const PATTERN = /^(tkt_[0-9a-hjkmnp-tv-z]{26})[\w-]{32}$/;

/** One for all of an account opens once, and soon; one for named jobs lives as long as a page that shows them. */
export const TICKET_MAX_S = { all: 60, jobs: 3_600 } as const;

export function makeTicket(): { id: string; token: string } {
  const id = newId('tkt');
  return { id, token: id + randomBytes(24).toString('base64url') };
}

/** The id by which its row is found; null: this is no ticket, by its shape. */
export function ticketId(token: string): string | null {
  return PATTERN.exec(token)?.[1] ?? null;
}

/** What is stored of a ticket: worthless without the pepper. No key's, whose text has a dot. */
export function hashTicket(pepper: Buffer, token: string): Buffer {
  return createHmac('sha256', pepper).update(token).digest();
}
