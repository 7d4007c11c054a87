import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { AppError } from '../../domain/errors.ts';
import { money } from '../../domain/money.ts';
import { turnPage } from '../../domain/page.ts';
import { countBusy } from '../../domain/slots.ts';
import { listTransactions, type Transaction } from '../../ledger/movements.ts';
import { accountWithLots } from '../../store/account-view.ts';
import type { Api } from '../api.ts';
import { lotView } from '../lots.ts';
import { type PageQuery, pageQuery, sendPage, turnOf } from '../page.ts';
import { listOf } from '../shapes.ts';
import { AccountAnswer, TransactionAnswer } from '../shapes-account.ts';

export function accountRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.get(
    '/v1/account',
    {
      schema: {
        tags: ['account'],
        summary: 'Balance, plan and limits',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: AccountAnswer },
      },
    },
    async (request, reply) => {
      const { accountId, terms } = request.caller;
      const found = await readAs(ctx.client, accountId, (tx) => accountWithLots(tx, accountId));
      if (!found) throw new AppError('not_found');
      reply.header('x-credits-available', String(found.available));
      return {
        id: found.id,
        object: 'account',
        name: found.name,
        email: found.email,
        status: found.status,
        livemode: found.livemode,
        plan: { id: terms.id, name: terms.name, renews_at: null, cancel_at_period_end: false },
        balance: {
          available: money(found.available),
          held: money(found.held),
          lots: found.lots.map(lotView),
        },
        slots: { used: countBusy(found.busySlots), total: terms.slots },
        line: { waiting: found.lineWaiting, max: terms.lineLength },
        windows: [],
        caps: Object.fromEntries(
          terms.caps.map((cap) => [cap.tag ? `${cap.cap}:${cap.tag}` : cap.cap, cap.max]),
        ),
        budgets: [],
        newcomer: null,
      };
    },
  );

  app.get<{ Querystring: PageQuery }>(
    '/v1/transactions',
    {
      schema: {
        tags: ['account'],
        summary: 'Movements of the balance',
        description: 'One row a movement, oldest first; `after` is the last sequence seen.',
        querystring: Type.Object(pageQuery('sequence'), { additionalProperties: false }),
        response: { 200: listOf(TransactionAnswer) },
      },
    },
    async (request, reply) => {
      const { accountId } = request.caller;
      const { after, before, ...rest } = turnOf(request.query, 'asc');
      const asked = { ...rest, after: sequenceOf(after), before: sequenceOf(before) };
      const { rows, hasMore, next } = await readAs(ctx.client, accountId, (tx) =>
        turnPage(asked, (turn) => listTransactions(tx, { accountId, ...turn })),
      );
      return sendPage(reply, {
        items: rows.map((row) => JSON.stringify(transactionView(row))),
        hasMore,
        next: next ? String(next.sequence) : null,
      });
    },
  );
}

const sequenceOf = (cursor: string | null): bigint | null => (cursor === null ? null : BigInt(cursor));

/** Credits leave with a hold and with an expiry, and come with a grant and a release; a capture takes from what is held. */
function transactionView(row: Transaction) {
  const amount = Number(row.amount);
  const signed = row.type === 'grant' || row.type === 'release' ? amount : -amount;
  return {
    id: row.id,
    object: 'transaction',
    sequence: Number(row.sequence),
    type: row.type,
    job_id: row.jobId,
    amount: signed || 0,
    available_change: row.type === 'capture' ? 0 : signed || 0,
    balance_after: Number(row.balanceAfter),
    reason: row.reason,
    created_at: row.createdAt,
  };
}
