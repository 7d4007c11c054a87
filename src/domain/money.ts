/** 2,000,000 credits are one US dollar. */
export const CREDITS_PER_USD = 2_000_000n;

/** An amount as clients see it: whole credits, and exactly that in dollars as a decimal string. */
export interface Money {
  credits: number;
  usd: string;
}

export function money(credits: bigint): Money {
  return { credits: Number(credits), usd: usd(credits) };
}

/** One credit is 0.0000005 USD, so seven decimals are exact. No trailing zeros. */
export function usd(credits: bigint): string {
  const sign = credits < 0n ? '-' : '';
  const digits = ((credits < 0n ? -credits : credits) * 5n).toString().padStart(8, '0');
  const whole = digits.slice(0, -7);
  const fraction = digits.slice(-7).replace(/0+$/, '');
  return sign + whole + (fraction === '' ? '' : `.${fraction}`);
}
