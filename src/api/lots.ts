// A lot of credits, as its account and as the operator see it.
import { Type } from 'typebox';
import { money } from '../domain/money.ts';
import type { AccountView } from '../store/account-view.ts';
import { At, MoneyShape, nullable } from './shapes.ts';

export const LotAnswer = Type.Object({
  id: Type.String(),
  source: Type.String(),
  remaining: MoneyShape,
  held: MoneyShape,
  expires_at: nullable(At),
  refundable: Type.Boolean(),
});

export function lotView({
  id,
  source,
  remaining,
  held,
  expires_at,
  refundable,
}: AccountView['lots'][number]) {
  return { id, source, remaining: money(remaining), held: money(held), expires_at, refundable };
}
