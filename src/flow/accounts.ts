// Accounts come into being, and get credits.
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { hashSecret, type KeyMode, makeKey } from '../domain/api-key.ts';
import { AppError } from '../domain/errors.ts';
import { renderAccountEvent } from '../domain/event.ts';
import { newId } from '../domain/ids.ts';
import { money } from '../domain/money.ts';
import { notAPlan, type PlanOverrides } from '../domain/plan.ts';
import { writePostings } from '../ledger/post.ts';
import { postGrant } from '../ledger/posting.ts';
import { lockAccounts, writeAccounts } from '../store/accounts.ts';
import { appendEvents } from '../store/events.ts';
import { noteDeed } from '../store/audit-log.ts';
import { insertKey } from '../store/keys.ts';
import { type Idempotency, once } from './once.ts';

/** What making keys and accounts needs; start-up has no whole context yet. */
export type Maker = Pick<Context, 'flow' | 'secrets'>;

export interface NewAccount {
  name: string;
  plan: string;
  credits: bigint;
  overrides: PlanOverrides;
}

export interface MadeAccount {
  id: string;
  apiKey: string;
  /** Of its test twin, whose ledger is its own and whose jobs only reach `sim`. */
  testApiKey: string;
}

/** What a test account begins with: 10 USD that are none. */
const TEST_CREDITS = 20_000_000n;

/** @param request with the same key it makes one account, and answers with that one's keys */
export async function createAccount(
  maker: Maker,
  account: NewAccount,
  { actor, idempotency }: { actor: string; idempotency: Idempotency | null },
): Promise<{ answer: MadeAccount; replayed: boolean }> {
  return once(maker, idempotency, async (tx) => {
    const id = newId('acc');
    const twin = newId('acc');
    await insertAccount(tx, { ...account, id, testOf: null });
    await insertAccount(tx, { ...account, id: twin, testOf: id });
    const apiKey = await createKey(maker, tx, { accountId: id, mode: 'live', name: 'first' });
    const testApiKey = await createKey(maker, tx, { accountId: twin, mode: 'test', name: 'first' });
    if (account.credits > 0n)
      await grantIn(tx, { accountId: id, credits: account.credits, reason: 'opening balance', actor });
    await grantIn(tx, { accountId: twin, credits: TEST_CREDITS, reason: 'test credits', actor });
    const details = { plan: account.plan, credits: Number(account.credits) };
    noteDeed(tx, { id: newId('log'), actor, action: 'account.create', target: id, reason: null, details });
    return { id, apiKey, testApiKey };
  });
}

async function insertAccount(
  tx: Tx,
  account: NewAccount & { id: string; testOf: string | null },
): Promise<void> {
  const { rowCount } = await tx.query(
    `insert into accounts (id, name, livemode, test_of, plan_id, overrides) select $1, $2, $3::text is null, $3, id, $5 from plans where id = $4`,
    [account.id, account.name, account.testOf, account.plan, JSON.stringify(account.overrides)],
  );
  if (rowCount === 0) {
    const { rows } = await tx.query<{ id: string }>('select id from plans order by id');
    throw notAPlan(
      account.plan,
      rows.map(({ id }) => id),
    );
  }
}

/** @returns the token, which is not kept and cannot be shown again */
export async function createKey(
  { secrets }: Pick<Maker, 'secrets'>,
  tx: Tx,
  key: { accountId: string | null; mode: KeyMode; name: string },
): Promise<string> {
  const made = makeKey(key.mode);
  await insertKey(tx, {
    ...key,
    id: newId('key'),
    lookup: made.lookup,
    last4: made.last4,
    secretHmac: hashSecret(secrets.pepper, made),
  });
  return made.token;
}

export interface Grant {
  accountId: string;
  credits: bigint;
  reason: string;
  actor: string;
  expiresAt?: Date | null;
  tag?: string | null;
}

/** Adds a lot; one, however often it is asked for with the same key. @throws AppError not_found */
export async function grant(
  maker: Maker,
  request: Grant,
  idempotency: Idempotency | null,
): Promise<{ lotId: string; available: bigint; replayed: boolean }> {
  const { answer, replayed } = await once(maker, idempotency, async (tx) => {
    const { lotId, available } = await grantIn(tx, request);
    return { lotId, available: String(available) };
  });
  return { lotId: answer.lotId, available: BigInt(answer.available), replayed };
}

async function grantIn(tx: Tx, request: Grant): Promise<{ lotId: string; available: bigint }> {
  const account = (await lockAccounts(tx, [request.accountId])).get(request.accountId);
  if (!account) throw new AppError('not_found');
  const lotId = newId('lot');
  const { rows } = await tx.query<{ now: Date }>(
    `insert into lots (id, account_id, source, granted, remaining, expires_at, tag) values ($1, $2, 'grant', $3, $3, $4, $5)
      returning (select millrace_now()) as now`,
    [lotId, account.id, request.credits, request.expiresAt ?? null, request.tag ?? null],
  );
  const now = rows[0]?.now as Date;
  writePostings(tx, [postGrant(account, { lotId, amount: request.credits }, request)], now);
  account.eventSequence += 1n;
  const event = {
    id: newId('ev'),
    type: 'credits.granted',
    sequence: account.eventSequence,
    at: now,
    accountId: account.id,
    livemode: account.livemode,
  };
  const data = {
    lot_id: lotId,
    granted: money(request.credits),
    available: money(account.available),
    expires_at: request.expiresAt ?? null,
  };
  appendEvents(tx, [{ ...event, jobId: null, body: renderAccountEvent(event, data) }], now);
  writeAccounts(tx, [account]);
  return { lotId, available: account.available };
}
