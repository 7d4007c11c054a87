import type { UsageLine } from './job.ts';

/** What one unit costs, as a rate per million units, so that prices below a credit stay whole numbers. */
export interface PriceLine {
  name: UsageLine['name'];
  measure: UsageLine['measure'];
  creditsPerMillion: bigint;
}

const MILLION = 1_000_000n;
/** 4.5 billion USD: what JSON's numbers hold exactly, and far less than a column does. */
export const MAX_CREDITS = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The price of `usage`: summed exactly, rounded up once. The one function for hold, capture and the operator's own cost.
 * Usage that no line names is free of charge: a price says what is charged. A vendor may report any usage, so that the
 * price is at most MAX_CREDITS: what PostgreSQL could not write would keep its job from ever ending.
 */
export function priceOf(lines: readonly PriceLine[], usage: readonly UsageLine[]): bigint {
  let sum = 0n;
  for (const { name, measure, quantity } of usage) {
    const line = lines.find((candidate) => candidate.name === name && candidate.measure === measure);
    if (line) sum += BigInt(quantity) * line.creditsPerMillion;
  }
  const credits = (sum + MILLION - 1n) / MILLION;
  return credits < MAX_CREDITS ? credits : MAX_CREDITS;
}

/** Rows of `prices.lines` and `routes.cost`. */
export type PriceRow = {
  name: UsageLine['name'];
  measure: UsageLine['measure'];
  credits_per_million: string;
};

export function parsePrice(rows: readonly PriceRow[]): PriceLine[] {
  return rows.map((row) => ({
    name: row.name,
    measure: row.measure,
    creditsPerMillion: BigInt(row.credits_per_million),
  }));
}
