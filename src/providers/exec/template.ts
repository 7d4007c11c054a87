// From an engine's words to the arguments of one call.
import type { Words } from './engines.ts';

export type Values = Record<string, string | number | undefined>;

const PLACEHOLDER = /\{(\w+)\}/g;

/**
 * @returns the arguments, one for each word that stays
 * @throws Error where a value would be read as an option (it begins its word with a dash), could not be passed on (it
 *   holds a NUL), or is missing from a word that cannot be left out
 */
export function fill(words: readonly Words[], values: Values): string[] {
  return words.flatMap((word) => {
    if (typeof word === 'string') return [filled(word, values)];
    const whole = word.every((one) =>
      [...one.matchAll(PLACEHOLDER)].every(([, name = '']) => values[name] !== undefined),
    );
    return whole ? word.map((one) => filled(one, values)) : [];
  });
}

function filled(word: string, values: Values): string {
  return word.replace(PLACEHOLDER, (_, name: string, at: number) => {
    const value = values[name];
    if (value === undefined) throw new Error(`no value for ${name}`);
    const text = String(value);
    if (at === 0 && text.startsWith('-')) throw new Error(`the value for ${name} begins with a dash`);
    if (text.includes('\0')) throw new Error(`the value for ${name} holds a NUL`);
    return text;
  });
}
