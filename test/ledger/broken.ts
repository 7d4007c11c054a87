import type { TestPlatform } from '../support/platform.ts';

/** Breaks rows of some tables, looks, and puts everything back. */
export async function broken<T>(
  millrace: TestPlatform,
  { tables, sql }: { tables: readonly string[]; sql: string },
  look: () => Promise<T>,
): Promise<T> {
  const each = (text: (table: string) => string) => tables.map(text).join('; ');
  await millrace.sql(each((table) => `create table "kept_${table}" as select * from ${table}`));
  try {
    // As a superuser whose triggers and foreign keys are off; checks stay on.
    await millrace.sql(`set session_replication_role = replica; ${sql}; reset session_replication_role`);
    return await look();
  } finally {
    await millrace.sql(
      `set session_replication_role = replica; ${each((table) => `delete from ${table}; insert into ${table} select * from "kept_${table}"; drop table "kept_${table}"`)}; reset session_replication_role`,
    );
  }
}
