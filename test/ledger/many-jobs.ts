// An account with more behind it than a test could do: its rows are written as the platform would have left them.
import type { TestAccount, TestPlatform } from '../support/platform.ts';

const HOLD = 10;
const COST = 4;

/** Gives an account with one lot `jobs` more jobs that succeeded, each with three entries and two events. */
export async function addEndedJobs(millrace: TestPlatform, { id }: TestAccount, jobs: number): Promise<void> {
  const [row] = await millrace.sql<Record<'ledger' | 'event' | 'lot' | 'available' | 'now', string>>(
    `select ledger_sequence as ledger, event_sequence as event, available, millrace_now()::text as now,
        (select id from lots where account_id = a.id) as lot
      from accounts a where id = '${id}'`,
  );
  const { ledger, event, lot, available, now } = row!;
  const each = `generate_series(1, ${jobs}) as n`;
  const job = `'job_' || lpad((${event} + n)::text, 13, '0') || '${id.slice(-13)}'`;
  const entry = (
    nth: number,
    type: string,
    move: { ways: string; amount: number; after: number },
  ): string => {
    const number = `${ledger} + 3 * (n - 1) + ${nth}`;
    return `insert into ledger_transactions select '${id}', ${number}, 'tx_' || lpad((${number})::text, 26, '0'), '${type}', ${job},
        ${move.amount}, ${available} - ${COST} * (n - 1) - ${move.after}, null, null, '${now}' from ${each};
      insert into ledger_lines select '${id}', ${number}, 0, '${lot}', ${move.ways}, ${move.amount} from ${each};`;
  };
  const events = (type: string, number: string): string =>
    `insert into events select '${id}', ${number}, 'ev_' || ${number}, '${type}', ${job}, '{}', '${now}' from ${each};`;
  await millrace.sql(`set session_replication_role = replica;
    insert into jobs (account_id, id, key_id, livemode, kind, model, route_id, status, priority, sequence, deadline, deadline_named, hold, cost,
        price_id, bounds, output, created_at, started_at, ended_at)
      select '${id}', ${job}, (select min(k.id) from api_keys k where k.account_id = '${id}'), true, 'chat', 'sim/chat', 'rte_none', 'succeeded', 1, ${event} + n, '${now}', false, ${HOLD}, ${COST},
        'prv_none', '{}', '{}', '${now}', '${now}', '${now}' from ${each};
    ${entry(1, 'hold', { ways: `'available', 'held'`, amount: HOLD, after: HOLD })}
    ${entry(2, 'capture', { ways: `'held', 'captured'`, amount: COST, after: HOLD })}
    ${entry(3, 'release', { ways: `'held', 'available'`, amount: HOLD - COST, after: COST })}
    ${events('job.queued', `${event} + n`)}
    ${events('job.succeeded', `${event} + ${jobs} + n`)}
    update lots set remaining = remaining - ${COST * jobs} where id = '${lot}';
    update accounts set available = available - ${COST * jobs}, ledger_sequence = ledger_sequence + ${3 * jobs},
        event_sequence = event_sequence + ${2 * jobs} where id = '${id}';
    reset session_replication_role`);
}
