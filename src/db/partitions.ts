import type { Db } from './pool.ts';

const KINDS = ['idempotency_keys', 'events', 'deltas'] as const;

/**
 * Makes the partitions soon needed, drops those past their time; each kind for itself. Nothing waits for it longer than
 * the function's own lock timeout: what a long reader (a backup, an audit) keeps from being done is left to the next call.
 * @returns what was left, with why
 */
export async function rotatePartitions(db: Db): Promise<{ kind: string; why: string }[]> {
  const left: { kind: string; why: string }[] = [];
  for (const kind of KINDS) {
    try {
      const { rows } = await db.query<{ done: boolean }>('select rotate_partitions($1) as done', [kind]);
      if (!rows[0]?.done) left.push({ kind, why: 'somebody is at it, or reads what is to be dropped' });
    } catch (error) {
      if ((error as { code?: unknown }).code !== '55P03') throw error;
      left.push({ kind, why: (error as Error).message });
    }
  }
  return left;
}
