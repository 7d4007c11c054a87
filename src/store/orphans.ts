import type { Db } from '../db/pool.ts';

/** Answers one caller in each such time, whichever process it is in, with the instant; the others with null. */
export async function takeTurn(
  db: Db,
  { task, everyS }: { task: string; everyS: number },
): Promise<Date | null> {
  const { rows } = await db.query<{ at: Date }>(
    `insert into settings (name, value) values ($1, millrace_now()::text)
      on conflict (name) do update set value = excluded.value
        where settings.value::timestamptz <= millrace_now() - make_interval(secs => $2)
      returning value::timestamptz as at`,
    [`${task}_at`, everyS],
  );
  return rows[0]?.at ?? null;
}

/** What was begun with the turn taken then is done. */
export async function endTurn(db: Db, { task, at }: { task: string; at: Date }): Promise<void> {
  await db.query(
    `insert into settings (name, value) values ($1, $2::timestamptz::text)
      on conflict (name) do update set value = excluded.value where settings.value::timestamptz < excluded.value::timestamptz`,
    [`${task}_done`, at],
  );
}

/** When the turn was taken that was the last to be done to its end, and how long that is ago; null: none was. */
export async function lastTurn(db: Db, task: string): Promise<{ at: Date; agoS: number } | null> {
  const { rows } = await db.query<{ at: Date; agoS: number }>(
    `select value::timestamptz as at, greatest(extract(epoch from millrace_now() - value::timestamptz), 0)::float8 as "agoS"
      from settings where name = $1`,
    [`${task}_done`],
  );
  return rows[0] ?? null;
}

/** Bytes by their hash or, of earlier days, by their artifact; uploads that were promised; long inputs of jobs. */
const OURS = /^(acc_[0-9a-z]{26})\/(?:[0-9a-f]{64}|(?:up_)?art_[0-9a-z]{26}|in_(job_[0-9a-z]{26}))$/;

/**
 * Those of `keys` that an account of this database would name, and no artifact or input does, nor a job that waits or runs: one
 * that was let in while its artifact was there may use it until it ends. Keys of another shape, or of accounts that are not
 * known here (another database's, which shares the folder), are left alone.
 * @param deletedForS an artifact names its bytes until it has been deleted for so long
 */
export async function unnamedKeys(
  db: Db,
  keys: readonly string[],
  { deletedForS }: { deletedForS: number },
): Promise<string[]> {
  const parsed = keys.flatMap((key) => {
    const match = OURS.exec(key);
    return match ? [{ key, account: match[1], job: match[2] ?? null }] : [];
  });
  if (parsed.length === 0) return [];
  const { rows } = await db.query<{ key: string }>(
    `with unnamed as materialized (
        select k.key, k.account from json_to_recordset($1) as k (key text, account text, job text)
          join accounts on accounts.id = k.account
          where not exists (select from artifacts a where a.storage_key = k.key and a.account_id = k.account
              and (a.deleted_at is null or a.deleted_at > millrace_now() - make_interval(secs => $2)))
            and not exists (select from jobs j where j.account_id = k.account and j.id = k.job and j.input_key = k.key)),
      deleted as materialized (
        select u.key, u.account, a.id from unnamed u join artifacts a on a.storage_key = u.key and a.account_id = u.account),
      -- What long inputs name is not known here: null, and they may name any.
      open as materialized (
        select distinct j.account_id, j.input::json->>'artifact' as artifact, j.input is null as any
          from jobs j join (select distinct account from deleted) d on j.account_id = d.account
          where (j.slot is not null or j.place is not null) and j.kind in ('stt', 'image'))
      select key from unnamed u where not exists (
        select from deleted d join open on open.account_id = d.account and (open.any or open.artifact = d.id)
          where d.key = u.key)`,
    [JSON.stringify(parsed), deletedForS],
  );
  return rows.map(({ key }) => key);
}
