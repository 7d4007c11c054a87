// Cuts JSON text into its parts without reading them, so that what a client sent goes on as it came: JSON.parse and
// back would round 12345678901234567890 and rewrite 1.0. Meant for text that the gate has let in; of other text these
// make nonsense or throw, in time that grows with its length.

import { CODE } from './json-lexer.ts';

/** One member of an object, as places in its text (UTF-16 units, as String.slice takes them). */
export interface Member {
  /** Unescaped. */
  name: string;
  /** `from..to` is the whole member, from the key's quote to the value's end. */
  from: number;
  to: number;
  /** `start..end` is the value alone. */
  start: number;
  end: number;
}

/** The top-level members of an object, in the order of the text. Throws TypeError if `text` is no object. */
export function members(text: string): Member[] {
  const found: Member[] = [];
  let at = skipSpace(text, enter(text, '{'));
  while (text[at] !== '}') {
    const from = skipSpace(text, text[at] === ',' ? at + 1 : at);
    const keyEnd = stringEnd(text, from);
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = valueEnd(text, start);
    found.push({ name: unescape(text.slice(from, keyEnd)), from, to: end, start, end });
    at = skipSpace(text, end);
  }
  return found;
}

/** The raw texts of an array's items. Throws TypeError if `text` is no array. */
export function rawItems(text: string): string[] {
  return itemPlaces(text).map(({ start, end }) => text.slice(start, end));
}

/** Where an array's items lie in its text. Throws TypeError if `text` is no array. */
export function itemPlaces(text: string): { start: number; end: number }[] {
  const places: { start: number; end: number }[] = [];
  let at = skipSpace(text, enter(text, '['));
  while (text[at] !== ']') {
    const start = skipSpace(text, text[at] === ',' ? at + 1 : at);
    const end = valueEnd(text, start);
    places.push({ start, end });
    at = skipSpace(text, end);
  }
  return places;
}

/** The raw text of the object's member `name`, null if it has none; of twins the last, which JSON.parse would take. */
export function rawMember(text: string, name: string): string | null {
  const member = members(text).findLast((member) => member.name === name);
  return member === undefined ? null : text.slice(member.start, member.end);
}

/**
 * The object's text with some members given another value, removed, or appended in the order of `changes`; all else
 * stays byte for byte.
 * @param changes by unescaped name: raw JSON text, put in as it is; or null, which removes the member if it is there.
 *   Twins are all changed alike.
 */
export function rewriteObject(text: string, changes: Record<string, string | null>): string {
  const open = enter(text, '{');
  const old = members(text);
  const absent = new Set(Object.keys(changes));
  let written = '';
  let behind = open;
  for (const { name, from, to, start } of old) {
    absent.delete(name);
    // Only the record's own changes count: a member may well be called "constructor".
    const change = Object.hasOwn(changes, name) ? changes[name] : undefined;
    // What stands before a member goes or stays with it, comma included; only the first that stays needs none.
    const gap = written === '' ? text.slice(open, old[0]?.from) : text.slice(behind, from);
    if (change === undefined) written += gap + text.slice(from, to);
    else if (change !== null) written += gap + text.slice(from, start) + change;
    behind = to;
  }
  for (const name of absent) {
    const value = changes[name];
    if (typeof value !== 'string') continue;
    written += `${written === '' ? '' : ','}${JSON.stringify(name)}:${value}`;
  }
  return text.slice(0, open) + written + text.slice(behind);
}

/** Behind the bracket that `text` must begin with. */
function enter(text: string, bracket: '{' | '['): number {
  const at = skipSpace(text, 0);
  if (text[at] !== bracket) throw new TypeError(`JSON text does not begin with ${bracket}`);
  return at + 1;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  // Valid text has no other character up to the space outside of its strings.
  while (text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Behind the closing quote of the string that begins at `from`. */
function stringEnd(text: string, from: number): number {
  for (let quote = from; ;) {
    quote = text.indexOf('"', quote + 1);
    if (quote === -1) throw new TypeError('JSON text ends within a string');
    let slash = quote;
    while (text[slash - 1] === '\\') slash--;
    // An odd number of backslashes before it: the last of them escapes the quote.
    if ((quote - slash) % 2 === 0) return quote + 1;
  }
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return stringEnd(text, start);
  return first === '{' || first === '[' ? nestedEnd(text, start) : plainEnd(text, start);
}

/** Behind the bracket that closes the one at `start`. Strings may be full of brackets: they are jumped. */
function nestedEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length;) {
    const code = text.charCodeAt(at);
    if (code === CODE.quote) {
      at = stringEnd(text, at);
      continue;
    }
    at++;
    if (code === CODE.openObject || code === CODE.openArray) depth++;
    else if ((code === CODE.closeObject || code === CODE.closeArray) && --depth === 0) return at;
  }
  throw new TypeError('JSON text ends within an array or object');
}

/** Behind a number, `true`, `false` or `null`. */
function plainEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length && !' \t\n\r,]}'.includes(text[at]!)) at++;
  if (at === start) throw new TypeError('JSON text lacks a value');
  return at;
}

function unescape(quoted: string): string {
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}
