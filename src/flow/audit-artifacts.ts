// I10: each artifact that was not deleted is in storage, byte for byte what its row says; and bytes that nobody names are
// not kept for more than a day, wherever something runs that removes them.
import { createHash } from 'node:crypto';
import type { Context } from '../context.ts';
import { idFloor } from '../domain/ids.ts';
import type { Breach, Findings } from '../ledger/audit-findings.ts';
import { portions } from '../ledger/audit-spans.ts';
import { StorageMissing } from '../storage/storage.ts';
import { lastTurn, unnamedKeys } from '../store/orphans.ts';
import type { Subject } from './audit-subject.ts';
import { REMOVE_ORPHANS } from './remove-orphans.ts';

interface Row {
  account_id: string;
  id: string;
  storage_key: string;
  bytes: number;
  sha256: string;
}

export interface ArtifactReader {
  /** Reads the artifacts of accounts, those since their checkpoints. Answers which accounts had any. */
  check(group: readonly Subject[], findings: Findings): Promise<Set<string>>;
  /** How many were read. */
  read(): number;
  /** Whether bounds kept some from being read. */
  skipped(): boolean;
}

const PAGE = 100;
/** A storage across a network mostly takes its time to begin. */
const AT_ONCE = 8;
const ACCOUNTS_A_PAGE = 50;
/** An artifact's row comes after its instant: while its transaction takes. */
const ROW_MS = 5 * 60_000;
/** And its id before its bytes: while an upload takes, or an outcome waits to be written down. */
const BYTES_MS = 24 * 3_600_000;

export function artifactReader(
  ctx: Context,
  within?: { artifacts: number; artifactBytes: number },
): ArtifactReader {
  let read = 0;
  let bytes = 0;
  let skipped = false;
  const affordable = (row: Row): boolean =>
    !within || (read < within.artifacts && bytes + row.bytes <= within.artifactBytes);
  return {
    async check(group, findings) {
      const seen = new Set<string>();
      let batch: Row[] = [];
      const judge = async (): Promise<void> => {
        const judged = await Promise.all(batch.map(async (row) => ({ row, what: await compare(ctx, row) })));
        batch = [];
        for (const { row, what } of judged) if (what) findings.found([breachOf(row, what)]);
      };
      for await (const row of artifactsOf(ctx, group)) {
        seen.add(row.account_id);
        if (!affordable(row)) {
          skipped = true;
          break;
        }
        read += 1;
        bytes += row.bytes;
        findings.looked('I10', 1);
        batch.push(row);
        if (batch.length === AT_ONCE) await judge();
      }
      await judge();
      return seen;
    },
    read: () => read,
    skipped: () => skipped,
  };
}

const PAGE_OF_KEYS = 500;
const ORPHAN_S = 24 * 3_600;

/**
 * Looks through all of storage, for what was a day old already when orphans were last removed: while an installation is
 * stopped they stay, and nothing is wrong. `asOf`: when that was; null: never to the end, so nothing can be judged.
 */
export async function auditOrphans(ctx: Context): Promise<{ breaches: Breach[]; asOf: Date | null }> {
  const breaches: Breach[] = [];
  const last = await lastTurn(ctx.flow, REMOVE_ORPHANS);
  if (!last) return { breaches, asOf: null };
  const olderThanS = ORPHAN_S + last.agoS;
  let keys: string[] = [];
  const judge = async (): Promise<void> => {
    const unnamed = await unnamedKeys(ctx.flow, keys, { deletedForS: olderThanS });
    keys = [];
    for (const key of unnamed)
      breaches.push({
        invariant: 'I10',
        account_id: key.slice(0, key.indexOf('/')),
        subject: key,
        what: 'bytes that nobody names, and that were older than a day when such were last removed',
      });
  };
  for await (const { key, ageMs } of ctx.storage.list()) {
    if (ageMs <= olderThanS * 1_000) continue;
    keys.push(key);
    if (keys.length === PAGE_OF_KEYS) await judge();
  }
  await judge();
  return { breaches, asOf: last.at };
}

const breachOf = ({ account_id, id }: Row, what: string): Breach => ({
  invariant: 'I10',
  account_id,
  subject: id,
  what,
});

async function* artifactsOf(ctx: Context, group: readonly Subject[]): AsyncGenerator<Row> {
  for (const portion of portions(group, () => 1, ACCOUNTS_A_PAGE)) {
    let wanted = portion.map(({ id, since }) => ({
      account: id,
      after: since ? idFloor('art', new Date(since.at.getTime() - BYTES_MS)) : '',
      since: since ? new Date(since.at.getTime() - ROW_MS) : null,
    }));
    while (wanted.length > 0) {
      const { rows } = await ctx.flow.query<Row>(
        `select a.account_id, a.id, a.storage_key, a.bytes::float8 as bytes, a.sha256
          from unnest($1::text[], $2::text[], $3::timestamptz[]) as w (account_id, after, since)
          cross join lateral (select * from artifacts x where x.account_id = w.account_id and x.id > w.after
            and x.created_at >= coalesce(w.since, '-infinity') and x.deleted_at is null and not x.pending order by x.id limit $4) a`,
        [wanted.map((w) => w.account), wanted.map((w) => w.after), wanted.map((w) => w.since), PAGE],
      );
      yield* rows;
      const perAccount = Map.groupBy(rows, (row) => row.account_id);
      wanted = wanted.flatMap((w) => {
        const page = perAccount.get(w.account) ?? [];
        return page.length < PAGE ? [] : [{ ...w, after: page.at(-1)?.id ?? '' }];
      });
    }
  }
}

/** What is wrong with it, or null. */
async function compare(ctx: Context, row: Row): Promise<string | null> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of await ctx.storage.open(row.storage_key)) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
  } catch (error) {
    // Deleted between our two looks at it.
    if (error instanceof StorageMissing)
      return (await deleted(ctx, row.id)) ? null : 'its bytes are not in storage';
    throw error;
  }
  if (bytes !== row.bytes) return `${bytes} bytes are stored where the row says ${row.bytes}`;
  return hash.digest('hex') === row.sha256 ? null : 'the stored bytes have another hash than the row says';
}

async function deleted(ctx: Context, id: string): Promise<boolean> {
  const { rowCount } = await ctx.flow.query(
    'select 1 from artifacts where id = $1 and deleted_at is not null',
    [id],
  );
  return rowCount === 1;
}
