// Rows of accounts that do not exist: no audit that goes account by account comes upon them.
import type { Db } from '../db/pool.ts';
import type { Breach } from './audit-findings.ts';

/** Between two accounts' ids, the first without and the last with. `upto` null: to the end. */
export async function auditStrays(
  db: Db,
  { after, upto }: { after: string; upto: string | null },
): Promise<Breach[]> {
  const { rows } = await db.query<Breach>(STRAYS, [after, upto]);
  return rows;
}

/** From one account's rows to the next one's by the primary key, whatever lies between them. */
const steps = (table: string): string => `(with recursive step as (
    select min(account_id) as id from ${table} where account_id > $1
    union all
    select (select min(x.account_id) from ${table} x where x.account_id > step.id) from step
      where step.id is not null and step.id <= coalesce($2, step.id))
  select '${table}' as name, id from step where id <= coalesce($2, id))`;

const STRAYS = `select case name when 'jobs' then 'I2' else 'I1' end as invariant, id as account_id, id as subject,
    format('rows in %s of an account that is not there', name) as what
  from (${['ledger_transactions', 'ledger_lines', 'jobs'].map(steps).join(' union all ')}) t
  where not exists (select from accounts a where a.id = t.id)`;
