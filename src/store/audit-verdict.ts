// What the last audit found, for whoever watches: an audit that ran at night is told of by day.
import type { Db } from '../db/pool.ts';

export interface AuditVerdict {
  breaches: number;
  at: Date;
}

const SETTING = 'audit';

export async function noteVerdict(db: Db, { breaches, at }: AuditVerdict): Promise<void> {
  await db.query(
    'insert into settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    [SETTING, `${breaches} ${at.toISOString()}`],
  );
}

/** Null: there was none yet. */
export async function lastVerdict(db: Db): Promise<(AuditVerdict & { ageS: number }) | null> {
  const { rows } = await db.query<{ breaches: number; at: Date; ageS: number }>(
    `select split_part(value, ' ', 1)::int as breaches, split_part(value, ' ', 2)::timestamptz as at,
        extract(epoch from (select millrace_now()) - split_part(value, ' ', 2)::timestamptz)::float8 as "ageS"
      from settings where name = $1`,
    [SETTING],
  );
  return rows[0] ?? null;
}
