import type { Kind, UsageLine } from './job.ts';

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

type Unit = Pick<PriceLine, 'name' | 'measure'>;

const TOKENS: readonly Unit[] = [
  { name: 'token', measure: 'input' },
  { name: 'token', measure: 'output' },
];

/** By what a job of each kind is sold, and so what its price must say; what is free says so with a rate of 0. */
const UNITS: Record<Kind, readonly (readonly Unit[])[]> = {
  chat: [TOKENS],
  image: [[{ name: 'image', measure: 'output' }], TOKENS],
  tts: [[{ name: 'character', measure: 'input' }], TOKENS],
  stt: [[{ name: 'millisecond', measure: 'input' }], TOKENS],
};

/** How long the vendor worked. Nobody can bound it beforehand, so that it may be an operator's cost and never a client's price. */
export const isComputeTime = ({ name, measure }: Unit): boolean =>
  name === 'millisecond' && measure === 'output';

const nameOf = ({ name, measure }: Unit): string => `${name} ${measure}`;

/** The lines that a price of that kind may consist of, in words: one of these lists. */
export const unitsOf = (kind: Kind): string[][] => UNITS[kind].map((units) => units.map(nameOf));

/**
 * Of a price (`whole`): whether its lines are those of one unit that its kind is sold by. Of a cost: whether each line is of
 * some unit of its kind, since what a vendor bills by may be none of what is sold; or of the vendor's time. None may come twice.
 */
export function fitsKind(kind: Kind, lines: readonly Unit[], { whole }: { whole: boolean }): boolean {
  const given = new Set(lines.map(nameOf));
  if (given.size < lines.length) return false;
  const within = (units: readonly string[]): boolean => [...given].every((name) => units.includes(name));
  const ways = unitsOf(kind);
  if (whole) return ways.some((units) => units.length === given.size && within(units));
  return lines.every((line) => ways.flat().includes(nameOf(line)) || isComputeTime(line));
}

/** Whether a price asks for tokens. */
export const byTokens = (lines: readonly Unit[]): boolean => lines.some(({ name }) => name === 'token');
