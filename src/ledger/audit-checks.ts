// The invariants that SQL can judge (docs/invariants.md). Each check answers for a page of accounts: how many rows it
// looked at, and each row that breaks it.
import type { Db } from '../db/pool.ts';

export interface Breach {
  invariant: string;
  account_id: string;
  /** The account, lot, job or transaction that is wrong. */
  subject: string;
  what: string;
}

export interface AuditCheck {
  id: string;
  says: string;
  run(tx: Db, accountIds: readonly string[]): Promise<{ rows: number; breaches: Breach[] }>;
}

/** `count` answers with one number, `wrong` with rows of account_id, subject and what; $1 is the accounts' ids. */
function check(id: string, says: string, { count, wrong }: { count: string; wrong: string[] }): AuditCheck {
  return {
    id,
    says,
    async run(tx, accountIds) {
      const { rows } = await tx.query<{ n: bigint }>(count, [accountIds]);
      const breaches: Breach[] = [];
      for (const sql of wrong) {
        const found = await tx.query<Omit<Breach, 'invariant'>>(sql, [accountIds]);
        breaches.push(...found.rows.map((row) => ({ invariant: id, ...row })));
      }
      return { rows: Number(rows[0]?.n ?? 0n), breaches };
    },
  };
}

const LINES = `select l.*, t.type, t.job_id, t.amount as header_amount from ledger_lines l
  join ledger_transactions t on t.account_id = l.account_id and t.sequence = l.sequence where l.account_id = any($1)`;

const MOVED = `select account_id, lot_id,
    coalesce(sum(amount) filter (where from_bucket = 'source'), 0) as granted,
    coalesce(sum(amount) filter (where to_bucket = 'available'), 0) - coalesce(sum(amount) filter (where from_bucket = 'available'), 0) as remaining,
    coalesce(sum(amount) filter (where to_bucket = 'held'), 0) - coalesce(sum(amount) filter (where from_bucket = 'held'), 0) as held
  from ledger_lines where account_id = any($1) and lot_id is not null group by account_id, lot_id`;

export const AUDIT_CHECKS: AuditCheck[] = [
  check('I1', 'every balance and lot is the sum of its entries', {
    count: `select (select count(*) from ledger_lines where account_id = any($1)) + (select count(*) from ledger_transactions where account_id = any($1)) as n`,
    wrong: [
      `with moved as (${MOVED})
        select l.account_id, l.id as subject, format('lot: granted %s, remaining %s, held %s; its entries say %s, %s, %s',
          l.granted, l.remaining, l.held, coalesce(m.granted, 0), coalesce(m.remaining, 0), coalesce(m.held, 0)) as what
        from lots l left join moved m on m.account_id = l.account_id and m.lot_id = l.id
        where l.account_id = any($1) and (l.granted, l.remaining, l.held)
          is distinct from (coalesce(m.granted, 0), coalesce(m.remaining, 0), coalesce(m.held, 0))`,
      `with moved as (select account_id, sum(remaining) as remaining, sum(held) as held from (${MOVED}) m group by account_id)
        select a.id as account_id, a.id as subject, format('account: available %s, held %s; its entries say %s, %s',
          a.available, a.held, coalesce(m.remaining, 0), coalesce(m.held, 0)) as what
        from accounts a left join moved m on m.account_id = a.id
        where a.id = any($1) and (a.available, a.held) is distinct from (coalesce(m.remaining, 0), coalesce(m.held, 0))`,
      `with sums as (select account_id, sequence, sum(amount) filter (where lot_id is not null) as amount,
            sum(case when to_bucket = 'available' then amount when from_bucket = 'available' then -amount else 0 end) as change
          from ledger_lines where account_id = any($1) group by account_id, sequence),
        told as (select t.account_id, t.sequence, t.id, t.amount, t.balance_after, coalesce(s.amount, 0) as moved, coalesce(s.change, 0) as change,
            coalesce(lag(t.balance_after) over account, 0) as before, coalesce(lag(t.sequence) over account, 0) as previous
          from ledger_transactions t left join sums s on s.account_id = t.account_id and s.sequence = t.sequence
          where t.account_id = any($1) window account as (partition by t.account_id order by t.sequence))
        select account_id, id as subject, format('transaction %s: says %s moved and %s left; its lines say %s, after %s', sequence, amount, balance_after, moved, before + change) as what
        from told where amount <> moved or balance_after <> before + change or sequence <> previous + 1`,
      `select a.id as account_id, a.id as subject, format('account: ledger number %s, last row %s', a.ledger_sequence, coalesce(t.last, 0)) as what
        from accounts a left join (select account_id, max(sequence) as last from ledger_transactions where account_id = any($1) group by 1) t on t.account_id = a.id
        where a.id = any($1) and a.ledger_sequence <> coalesce(t.last, 0)`,
    ],
  }),
  check('I2', 'each job has one hold, resolved once, and never beyond it', {
    count: `select count(*) as n from jobs where account_id = any($1)`,
    wrong: [
      `with sums as (select account_id, job_id, count(*) filter (where type = 'hold') as holds,
            coalesce(sum(amount) filter (where type = 'hold'), 0) as held,
            coalesce(sum(amount) filter (where type = 'capture'), 0) as captured,
            coalesce(sum(amount) filter (where type = 'release'), 0) as released
          from ledger_transactions where account_id = any($1) and job_id is not null group by 1, 2)
        select j.account_id, j.id as subject, format('job: hold %s, status %s; %s hold entries of %s, captured %s, released %s',
          j.hold, j.status, coalesce(s.holds, 0), coalesce(s.held, 0), coalesce(s.captured, 0), coalesce(s.released, 0)) as what
        from jobs j left join sums s on s.account_id = j.account_id and s.job_id = j.id
        where j.account_id = any($1) and (coalesce(s.holds, 0) <> 1 or s.held <> j.hold or s.captured > s.held
          or case when j.ended_at is null then s.captured + s.released <> 0 else s.captured + s.released <> s.held end)`,
      `select account_id, id as subject, format('transaction %s: a %s of %s, which is no job of the account', sequence, type, job_id) as what
        from ledger_transactions t where account_id = any($1) and job_id is not null
          and not exists (select from jobs j where j.account_id = t.account_id and j.id = t.job_id)`,
    ],
  }),
  check(
    'I4',
    'each job is in a state of the published graph, with the slot, place and events that go with it',
    {
      count: `select count(*) as n from jobs where account_id = any($1)`,
      wrong: [
        `select account_id, id as subject, format('job: %s with slot %s, place %s, worker %s, end %s', status, slot, place, worker_id, ended_at) as what
        from jobs where account_id = any($1) and ((status = 'queued') <> (slot is not null or place is not null) and status <> 'running'
          or (status = 'running' and (slot is null or worker_id is null)) or (ended_at is not null and (slot is not null or place is not null)))`,
        `with told as (select account_id, job_id, count(*) filter (where type = 'job.queued') as queued, count(*) filter (where type <> 'job.queued') as ends,
            min(type) filter (where type <> 'job.queued') as last
          from events where account_id = any($1) and job_id is not null group by 1, 2)
        select j.account_id, j.id as subject, format('job: %s, with %s job.queued and %s ends (%s)', j.status, coalesce(t.queued, 0), coalesce(t.ends, 0), t.last) as what
        from jobs j left join told t on t.account_id = j.account_id and t.job_id = j.id
        where j.account_id = any($1) and j.created_at > (select millrace_now()) - interval '30 days'
          and (coalesce(t.queued, 0) <> 1 or coalesce(t.ends, 0) <> (j.ended_at is not null)::int or (j.ended_at is not null and t.last <> 'job.' || j.status))`,
        `select a.id as account_id, a.id as subject, format('account: event number %s; %s events are kept, from %s to %s', a.event_sequence, e.n, e.first, e.last) as what
        from accounts a join (select account_id, count(*) as n, min(sequence) as first, max(sequence) as last from events
            where account_id = any($1) group by 1) e on e.account_id = a.id
        where e.n <> e.last - e.first + 1 or e.last <> a.event_sequence`,
        `select a.id as account_id, a.id as subject, format('account: %s slots in use and %s in line; its jobs say %s and %s',
          bit_count(a.busy_slots), a.line_waiting, coalesce(j.slots, 0), coalesce(j.waiting, 0)) as what
        from accounts a left join (select account_id, count(slot) as slots, count(place) as waiting
            from jobs where account_id = any($1) and (slot is not null or place is not null) group by 1) j on j.account_id = a.id
        where a.id = any($1) and (bit_count(a.busy_slots) <> coalesce(j.slots, 0) or a.line_waiting <> coalesce(j.waiting, 0))`,
        `select j.account_id, j.id as subject, format('job: holds slot %s, which its account counts as free', j.slot) as what
        from jobs j join accounts a on a.id = j.account_id where j.account_id = any($1) and j.slot is not null
          and case when octet_length(a.busy_slots) * 8 >= j.slot then get_bit(a.busy_slots, j.slot - 1) else 0 end = 0`,
      ],
    },
  ),
  check(
    'I5',
    'each job is charged at most once, for what it says it cost, and for nothing unless something was used',
    {
      count: `select count(*) as n from ledger_transactions where account_id = any($1) and type = 'capture'`,
      wrong: [
        `select j.account_id, j.id as subject, format('job: %s, cost %s; captured %s in %s entries', j.status, j.cost, coalesce(c.captured, 0), coalesce(c.captures, 0)) as what
        from jobs j left join (select account_id, job_id, count(*) as captures, sum(amount) as captured from ledger_transactions
            where account_id = any($1) and type = 'capture' group by 1, 2) c on c.account_id = j.account_id and c.job_id = j.id
        where j.account_id = any($1) and (coalesce(c.captures, 0) > 1 or coalesce(c.captured, 0) <> coalesce(j.cost, 0)
          or (j.cost > 0 and (j.status = 'failed' or j.started_at is null or j.canceled_by in ('operator', 'suspension'))) or (j.status = 'succeeded' and j.output is null and j.data_deleted_at is null))`,
        `select l.account_id, l.job_id as subject, format('%s of lot %s moved from %s to %s', l.type, l.lot_id, l.from_bucket, l.to_bucket) as what
        from (${LINES}) l where l.lot_id is not null and (l.type, l.from_bucket, l.to_bucket) not in (('hold', 'available', 'held'), ('capture', 'held', 'captured'),
          ('release', 'held', 'available'), ('grant', 'source', 'available'), ('expire', 'available', 'expired'), ('adjust', 'available', 'clawed_back'))`,
      ],
    },
  ),
];
