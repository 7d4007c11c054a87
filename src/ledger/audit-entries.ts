// Entries of the ledger and their lines, a span at a time. They are never changed once they are written, so spans need
// no common snapshot.
import type { Db } from '../db/pool.ts';
import type { LotSums } from './audit-checkpoints.ts';
import type { Breach } from './audit-findings.ts';
import { packs, type Span } from './audit-spans.ts';

/** The spans of a pack. `offset 0` below keeps each span a walk along the primary key, whatever the planner thinks of it. */
export const SPANS = 'unnest($1::text[], $2::bigint[], $3::bigint[]) as s (account_id, after, upto)';
export const spanValues = (pack: readonly Span[]) => [
  pack.map((span) => span.accountId),
  pack.map((span) => span.after),
  pack.map((span) => span.upto),
];

const within = (table: string): string =>
  `${SPANS} cross join lateral (select * from ${table} x
    where x.account_id = s.account_id and x.sequence > s.after and x.sequence <= s.upto offset 0)`;

interface SumRow {
  account_id: string;
  /** Null: the operator's own lines. */
  lot_id: string | null;
  granted: string;
  remaining: string;
  held: string;
  lines: bigint;
}

/** Looks at the entries of each span and adds what they moved to the sums of their accounts' lots. */
export async function* auditEntries(
  db: Db,
  spans: readonly Span[],
  sums: ReadonlyMap<string, Map<string, LotSums>>,
): AsyncGenerator<{ pack: Span[]; rows: number; breaches: Breach[] }> {
  for (const pack of packs(spans)) {
    const values = spanValues(pack);
    const [moved, wrong, counted] = await Promise.all([
      db.query<SumRow>(MOVED, values),
      db.query<Breach>(WRONG, values),
      db.query<{ n: bigint }>(`select count(*) as n from ${within('ledger_transactions')} t`, values),
    ]);
    let rows = Number(counted.rows[0]?.n ?? 0n);
    for (const { account_id, lot_id, granted, remaining, held, lines } of moved.rows) {
      rows += Number(lines);
      const lots = sums.get(account_id);
      if (!lots || lot_id === null) continue;
      const sum = lots.get(lot_id) ?? [0n, 0n, 0n];
      lots.set(lot_id, [sum[0] + BigInt(granted), sum[1] + BigInt(remaining), sum[2] + BigInt(held)]);
    }
    yield { pack, rows, breaches: wrong.rows };
  }
}

/** The jobs that entries of a pack are of. */
export async function jobsOfEntries(
  db: Db,
  pack: readonly Span[],
): Promise<{ account_id: string; id: string }[]> {
  const { rows } = await db.query<{ account_id: string; id: string }>(
    `select distinct t.account_id, t.job_id as id from ${within('ledger_transactions')} t where t.job_id is not null`,
    spanValues(pack),
  );
  return rows;
}

const CHANGE = (bucket: string): string =>
  `case when to_bucket = '${bucket}' then amount when from_bucket = '${bucket}' then -amount else 0 end`;

const MOVED = `select l.account_id, l.lot_id, count(*) as lines,
    coalesce(sum(amount) filter (where from_bucket = 'source'), 0) as granted,
    sum(${CHANGE('available')}) as remaining, sum(${CHANGE('held')}) as held
  from ${within('ledger_lines')} l group by 1, 2`;

/** Which way credits go in an entry of each type. */
const WAYS = `(values ('hold', 'available>held'), ('capture', 'held>captured'), ('release', 'held>available'),
  ('grant', 'source>available'), ('expire', 'available>expired'), ('adjust', 'available>clawed_back'))`;

/**
 * Headers and lines are brought together by grouping: a join of two such spans may be planned as one loop in another.
 * `before` is the entry that a span comes after.
 */
const WRONG = `with rows as (
    select t.account_id, t.sequence, t.id, t.type, t.job_id, t.amount, t.balance_after, null::bigint as moved, null::bigint as change, null as way
      from ${within('ledger_transactions')} t
    union all
    select l.account_id, l.sequence, null, null, null, null, null, case when lot_id is null then 0 else amount end,
        ${CHANGE('available')}, case when lot_id is not null then from_bucket || '>' || to_bucket end
      from ${within('ledger_lines')} l),
  entries as (
    select account_id, sequence, max(id) as id, max(type) as type, max(job_id) as job_id, max(amount) as amount, max(balance_after) as balance_after,
        coalesce(sum(moved), 0) as moved, coalesce(sum(change), 0) as change, min(way) as way, max(way) as other_way
      from rows group by account_id, sequence),
  before as materialized (
    select b.* from ${SPANS} cross join lateral (select x.account_id, x.sequence, x.balance_after from ledger_transactions x
      where x.account_id = s.account_id and x.sequence <= s.after order by x.sequence desc limit 1) b),
  told as (
    select e.*, coalesce(lag(e.sequence) over account, before.sequence, 0) as previous,
        coalesce(lag(e.balance_after) over account, before.balance_after, 0) as balance_before
      from entries e left join before on before.account_id = e.account_id
      where e.id is not null window account as (partition by e.account_id order by e.sequence))
  select 'I1' as invariant, account_id, id as subject, format('transaction %s: says %s moved and %s left; its lines say %s, after %s; the number before it is %s',
      sequence, amount, balance_after, moved, balance_before + change, previous) as what
    from told where amount <> moved or balance_after <> balance_before + change or sequence <> previous + 1
  union all
  select 'I1', account_id, account_id, format('lines of transaction %s, which is not there', sequence) from entries where id is null
  union all
  select 'I2', account_id, id, format('transaction %s: a %s of %s, which is no job of the account', sequence, type, job_id)
    from told where job_id is not null and (select true from jobs j where j.account_id = told.account_id and j.id = told.job_id) is null
  union all
  select 'I5', account_id, coalesce(job_id, id), format('transaction %s: a %s that moves credits %s', sequence, type, concat_ws(' and ', way, nullif(other_way, way)))
    from told where way is not null and ((type, way) not in (select * from ${WAYS} w) or way <> other_way)`;
