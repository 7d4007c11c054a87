import { InvalidArgumentError, Option } from 'commander';

/** An option that takes a whole number. @param least the smallest it may be */
export function amount(flags: string, meaning: string, least = 1): Option {
  return new Option(flags, meaning).argParser((text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} on.`);
  });
}
