import type { UsageLine } from './job.ts';

/** What one unit costs, as a rate per million units, so that prices below a credit stay whole numbers. */
export interface PriceLine {
  name: UsageLine['name'];
  measure: UsageLine['measure'];
  creditsPerMillion: bigint;
}

const MILLION = 1_000_000n;

/**
 * The price of `usage`: summed exactly, rounded up once. The one function for hold, capture and the operator's own cost.
 * Usage that no line names is free of charge: a price says what is charged.
 */
export function priceOf(lines: readonly PriceLine[], usage: readonly UsageLine[]): bigint {
  let sum = 0n;
  for (const { name, measure, quantity } of usage) {
    const line = lines.find((candidate) => candidate.name === name && candidate.measure === measure);
    if (line) sum += BigInt(quantity) * line.creditsPerMillion;
  }
  return (sum + MILLION - 1n) / MILLION;
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
