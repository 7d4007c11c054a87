import type { Db } from '../db/pool.ts';
import type { Bucket, PostingType } from './posting.ts';

/** One line of the ledger that belongs to a job, of the account's own lots. */
export interface Movement {
  type: PostingType;
  lotId: string;
  from: Bucket;
  to: Bucket;
  amount: bigint;
}

export async function jobMovements(db: Db, job: { accountId: string; jobId: string }): Promise<Movement[]> {
  const { rows } = await db.query<Movement>(
    `select t.type, l.lot_id as "lotId", l.from_bucket as "from", l.to_bucket as "to", l.amount
      from ledger_transactions t join ledger_lines l on l.account_id = t.account_id and l.sequence = t.sequence
      where t.account_id = $1 and t.job_id = $2 and l.lot_id is not null order by t.sequence, l.line`,
    [job.accountId, job.jobId],
  );
  return rows;
}

/** One movement of an account's balance. */
export interface Transaction {
  id: string;
  sequence: bigint;
  type: PostingType;
  jobId: string | null;
  amount: bigint;
  balanceAfter: bigint;
  reason: string | null;
  createdAt: Date;
}

export async function listTransactions(
  db: Db,
  page: { accountId: string; after: bigint | null; before: bigint | null; ascending: boolean; limit: number },
): Promise<Transaction[]> {
  const { rows } = await db.query<Transaction>(
    `select id, sequence, type, job_id as "jobId", amount, balance_after as "balanceAfter", reason, created_at as "createdAt"
      from ledger_transactions where account_id = $1
        and ($2::bigint is null or case when $4 then sequence > $2 else sequence < $2 end)
        and ($3::bigint is null or case when $4 then sequence < $3 else sequence > $3 end)
      order by sequence ${page.ascending ? 'asc' : 'desc'} limit $5`,
    [page.accountId, page.after, page.before, page.ascending, page.limit],
  );
  return rows;
}
