// The audit: every balance, lot and slot recomputed from what was written down, account by account. Each statement looks
// at a bounded number of rows, so it may run beside live traffic, whatever an account's size.
import type { Context } from '../context.ts';
import { openBooks } from '../ledger/audit-books.ts';
import { type Breach, Findings } from '../ledger/audit-findings.ts';
import { auditStrays } from '../ledger/audit-strays.ts';
import { noteVerdict } from '../store/audit-verdict.ts';
import { artifactReader, auditOrphans } from './audit-artifacts.ts';
import { auditGroup } from './audit-group.ts';
import { costOf, LEAST_COST, type Subject, subjectOf } from './audit-subject.ts';

export interface AuditOptions {
  /**
   * `nothing` (the default): all there is. `checkpoints`: of each account what came after the last audit that found it
   * right, and the jobs that are open; balances, lots and slots are compared in either case.
   */
  from?: 'nothing' | 'checkpoints';
  /** For an answer in bounded time. Such an audit writes no checkpoints. */
  within?: AuditLimits;
}

export interface AuditLimits {
  /** Accounts up to this id were looked at before. */
  after: string;
  /** Entries, events, lots and open jobs together, and a few for each account. */
  rows: number;
  /** Of which the bytes are read. */
  artifacts: number;
  artifactBytes: number;
}

export interface AuditReport {
  /** No breach in what was covered. */
  ok: boolean;
  checkedAt: Date;
  rows: number;
  /** By invariant: what it says, the rows it looked at, and its breaches. */
  invariants: { id: string; says: string; rows: number; breaches: number }[];
  /** The first thousand. */
  breaches: Breach[];
  covered: Coverage;
}

export interface Coverage {
  /** Every account, all of it that no checkpoint stands for, its new artifacts' bytes too. */
  complete: boolean;
  accounts: number;
  /** Those of them that were looked at from a checkpoint on. */
  resumed: number;
  /** Accounts with more that is new than the bounds allow. The first hundred. */
  leftOut: string[];
  /** Not null: the bounds were reached, and a next audit may go on after this account. */
  nextAfter: string | null;
  /** Of which the bytes were read. */
  artifacts: number;
  /** Bytes that nobody names were judged as of then, when such were last removed; null: they were not judged. */
  unnamedAsOf: Date | null;
}

const ACCOUNTS_A_GROUP = 250;
/** Of which each book has all: an account of a daily plan gets hundreds a year. */
const LOTS_A_GROUP = 20_000;
const LEFT_OUT_SHOWN = 100;

export async function audit(
  ctx: Context,
  { from = 'nothing', within }: AuditOptions = {},
): Promise<AuditReport> {
  const { rows: clock } = await ctx.flow.query<{ now: Date }>('select millrace_now() as now');
  const findings = new Findings();
  const artifacts = artifactReader(ctx, within);
  const bounds = within && { ...within, rowsLeft: within.rows };
  const covered: Omit<Coverage, 'complete' | 'artifacts'> = {
    unnamedAsOf: null,
    accounts: 0,
    resumed: 0,
    leftOut: [],
    nextAfter: null,
  };
  for (let after: string | undefined = within?.after ?? ''; covered.nextAfter === null;) {
    const ids = await nextGroup(ctx, after);
    if (!within) findings.found(await auditStrays(ctx.flow, { after, upto: ids.at(-1) ?? null }));
    if (ids.length === 0) break;
    const books = await openBooks(ctx.flow, ids, findings);
    const subjects = books.map((book) => subjectOf(book, from));
    const group = bounds ? affordable(subjects, { bounds, covered, after }) : subjects;
    await auditGroup(ctx, group, { findings, artifacts, from, writes: !within });
    covered.accounts += group.length;
    covered.resumed += group.filter(({ since }) => since !== null).length;
    after = ids.at(-1) as string;
  }
  if (from === 'nothing') {
    const { breaches, asOf } = await auditOrphans(ctx);
    findings.found(breaches);
    covered.unnamedAsOf = asOf;
  }
  const invariants = findings.summary();
  const complete = covered.nextAfter === null && covered.leftOut.length === 0 && !artifacts.skipped();
  const checkedAt = clock[0]?.now as Date;
  const breaches = invariants.reduce((sum, invariant) => sum + invariant.breaches, 0);
  // A part that is right says nothing of what was found wrong in another.
  const first = (within?.after ?? '') === '';
  if (breaches > 0 || (complete && first)) await noteVerdict(ctx.flow, { breaches, at: checkedAt });
  return {
    ok: breaches === 0,
    checkedAt,
    rows: invariants.reduce((sum, invariant) => sum + invariant.rows, 0),
    invariants,
    breaches: findings.breaches,
    covered: {
      complete,
      ...covered,
      artifacts: artifacts.read(),
    },
  };
}

/** The accounts after one, as many as are looked at together: at least one, if there are more. */
async function nextGroup(ctx: Context, after: string): Promise<string[]> {
  const { rows } = await ctx.flow.query<{ id: string }>(
    `select id from (select id, sum(lots) over (order by id) - lots as before
        from (select a.id, (select count(*) from lots l where l.account_id = a.id) as lots
          from accounts a where a.id > $1 order by a.id limit $2) counted) summed
      where before < $3 order by id`,
    [after, ACCOUNTS_A_GROUP, LOTS_A_GROUP],
  );
  return rows.map(({ id }) => id);
}

/** As many of a group as there are rows left for. The rest, and those that never fit, are noted as not covered. */
function affordable(
  group: readonly Subject[],
  {
    bounds,
    covered,
    after,
  }: {
    bounds: AuditLimits & { rowsLeft: number };
    covered: Pick<Coverage, 'leftOut' | 'nextAfter'>;
    after: string;
  },
): Subject[] {
  const taken: Subject[] = [];
  let last = after;
  for (const subject of group) {
    const tooMuch = costOf(subject) > bounds.rows;
    const cost = tooMuch ? LEAST_COST : costOf(subject);
    if (cost > bounds.rowsLeft) {
      covered.nextAfter = last;
      break;
    }
    bounds.rowsLeft -= cost;
    if (!tooMuch) taken.push(subject);
    else if (covered.leftOut.length < LEFT_OUT_SHOWN) covered.leftOut.push(subject.id);
    last = subject.id;
  }
  return taken;
}
