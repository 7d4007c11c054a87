import type { Db } from '../db/pool.ts';

export interface NewTicket {
  id: string;
  accountId: string;
  keyId: string;
  secretHmac: Buffer;
  /** Null: all of the account's. */
  jobs: readonly string[] | null;
  forS: number;
}

/** Answers when it ends. */
export async function insertTicket(db: Db, ticket: NewTicket): Promise<Date> {
  const { rows } = await db.query<{ at: Date }>(
    `insert into tickets (id, account_id, key_id, secret_hmac, all_jobs, jobs, expires_at)
      values ($1, $2, $3, $4, $5, $6, date_trunc('milliseconds', millrace_now() + make_interval(secs => $7))) returning expires_at as at`,
    [
      ticket.id,
      ticket.accountId,
      ticket.keyId,
      ticket.secretHmac,
      ticket.jobs === null,
      ticket.jobs ?? [],
      ticket.forS,
    ],
  );
  return rows[0]?.at as Date;
}

/** A ticket that is still good for opening something. */
export interface OpenTicket {
  id: string;
  keyId: string;
  secretHmac: Buffer;
  /** Null: all of the account's, once. */
  jobs: string[] | null;
  /** For how long, in milliseconds. */
  leftMs: number;
}

export async function findTicket(db: Db, id: string): Promise<OpenTicket | null> {
  const { rows } = await db.query<OpenTicket>({
    name: 'find-ticket',
    text: `select id, key_id as "keyId", secret_hmac as "secretHmac", case when not all_jobs then jobs end as jobs,
        extract(epoch from expires_at - (select millrace_now()))::float8 * 1000 as "leftMs"
      from tickets where id = $1 and used_at is null and expires_at > (select millrace_now())`,
    values: [id],
  });
  return rows[0] ?? null;
}

/** False: another was quicker. */
export async function spendTicket(db: Db, id: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'spend-ticket',
    text: `update tickets set used_at = millrace_now() where id = $1 and used_at is null and expires_at > millrace_now()`,
    values: [id],
  });
  return rowCount === 1;
}

/** Those that opened what they were for, or whose time is over. Answers how many were removed. */
export async function removeOldTickets(db: Db, limit: number): Promise<number> {
  const { rowCount } = await db.query({
    name: 'remove-old-tickets',
    text: `delete from tickets where id in (
      select id from tickets where expires_at <= (select millrace_now()) order by expires_at limit $1 for update skip locked)`,
    values: [limit],
  });
  return rowCount ?? 0;
}
