// The audit: every balance, lot and slot recomputed from what was written down, account by account, each account from
// one snapshot, so that it may run beside live traffic. It changes nothing but its checkpoints.
import type { Context } from '../context.ts';
import { AUDIT_CHECKS, type Breach } from '../ledger/audit-checks.ts';
import { checkArtifacts } from './audit-artifacts.ts';
import type { QueryConfig } from 'pg';
import type { Db } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';

export interface AuditReport {
  ok: boolean;
  checkedAt: Date;
  accounts: number;
  rows: number;
  /** By invariant: what it says, the rows it looked at, and its breaches. */
  invariants: { id: string; says: string; rows: number; breaches: number }[];
  breaches: Breach[];
}

const ACCOUNTS_A_SNAPSHOT = 100;
const BREACHES_SHOWN = 1_000;

const CHECK_MS = 3_600_000;

/** The connection's own limit to silence is for statements that are quicker. */
function patient(tx: Db): Db {
  const query = (text: string, values: unknown[]) =>
    tx.query({ text, values, query_timeout: CHECK_MS } as QueryConfig);
  return { query: query as Db['query'] };
}

export async function audit(ctx: Context): Promise<AuditReport> {
  const tally = new Map<string, { says: string; rows: number; breaches: number }>();
  const breaches: Breach[] = [];
  const note = (id: string, says: string, found: { rows: number; breaches: Breach[] }): void => {
    const sum = tally.get(id) ?? { says, rows: 0, breaches: 0 };
    sum.rows += found.rows;
    sum.breaches += found.breaches.length;
    tally.set(id, sum);
    breaches.push(...found.breaches.slice(0, BREACHES_SHOWN - breaches.length));
  };
  let accounts = 0;
  let after = '';
  for (;;) {
    const ids = await transaction(ctx.flow, async (tx) => {
      await tx.query('set transaction isolation level repeatable read read only');
      // The largest accounts take minutes, and a check that is cut off would never be done.
      await tx.query(`set local statement_timeout = ${CHECK_MS}`);
      const { rows } = await tx.query<{ id: string }>(
        'select id from accounts where id > $1 order by id limit $2',
        [after, ACCOUNTS_A_SNAPSHOT],
      );
      const page = rows.map((row) => row.id);
      if (page.length > 0)
        for (const check of AUDIT_CHECKS) note(check.id, check.says, await check.run(patient(tx), page));
      return page;
    });
    if (ids.length === 0) break;
    note('I10', 'every stored artifact is there, with its size and hash', await checkArtifacts(ctx, ids));
    accounts += ids.length;
    after = ids.at(-1) ?? after;
  }
  const { rows } = await ctx.flow.query<{ now: Date }>('select millrace_now() as now');
  const invariants = [...tally].map(([id, sum]) => ({ id, ...sum }));
  return {
    ok: invariants.every((invariant) => invariant.breaches === 0),
    checkedAt: rows[0]?.now as Date,
    accounts,
    rows: invariants.reduce((sum, invariant) => sum + invariant.rows, 0),
    invariants,
    breaches,
  };
}
