// A dry run: what admission would say, with nothing written.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import { admitOne } from '../domain/admission.ts';
import { AppError } from '../domain/errors.ts';
import type { Model } from '../domain/model.ts';
import { money } from '../domain/money.ts';
import { openLots } from '../ledger/lots.ts';
import { findAccount } from '../store/accounts.ts';
import { countAhead } from '../store/line.ts';
import { booksOf, type Request } from './admit.ts';
import type { Shower } from './show.ts';

export async function quote(
  { ctx, shower }: { ctx: Context; shower: Shower },
  { accountId }: { accountId: string },
  { request, model }: { request: Request; model: Model },
) {
  const account = await findAccount(ctx.flow, accountId);
  if (!account) throw new AppError('not_found');
  const { now, lots } = await openLots(ctx.flow, [accountId]);
  const books = booksOf(ctx, account, lots.get(accountId) ?? []);
  let reason: string | null = null;
  let slot: number | null = null;
  try {
    slot = admitOne(books, request, now).admission.slot;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    reason = error.code;
  }
  const expected = await shower.expectation(accountId, model.id);
  const ahead = { accountId, priority: request.priority };
  const position = slot === null ? await readAs(ctx.client, accountId, (tx) => countAhead(tx, ahead)) : 0;
  const waiting_for = slot === null ? 'slot' : 'worker';
  return {
    object: 'quote',
    admitted: reason === null,
    reason,
    hold: money(request.hold),
    expected: { ...money(expected.credits ?? request.hold), samples: expected.samples },
    queue: { position, waiting_for },
    bounds: JSON.parse(request.boundsJson) as unknown,
    price_version: request.priceId,
  };
}
