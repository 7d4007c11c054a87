import type { Tx } from '../db/pool.ts';

/** What an operator did. */
export interface Deed {
  id: string;
  actor: string;
  action: string;
  target: string;
  reason: string | null;
  details: object;
}

/** Written down with the deed itself; once, however often the transaction is tried. */
export function noteDeed(tx: Tx, { id, actor, action, target, reason, details }: Deed): void {
  tx.send({
    text: `insert into audit_log (id, actor, action, target, reason, details) values ($1, $2, $3, $4, $5, $6) on conflict (id) do nothing`,
    values: [id, actor, action, target, reason, JSON.stringify(details)],
  });
}
