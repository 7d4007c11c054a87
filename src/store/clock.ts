import type { Db } from '../db/pool.ts';

/** The one clock that deadlines, leases and windows are judged by. */
export async function databaseNow(db: Db): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>({
    name: 'database-now',
    text: 'select millrace_now() as now',
  });
  const now = rows[0]?.now;
  if (!now) throw new Error('the database has no clock');
  return now;
}
