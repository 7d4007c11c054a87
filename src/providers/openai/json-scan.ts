// Where the parts of a JSON text lie, so that they can be kept to the letter. Only for texts that JSON.parse has accepted.

export interface Span {
  start: number;
  end: number;
}

export interface Member extends Span {
  name: string;
  /** The whole member, from the quote of its name to the end of its value. */
  from: number;
  to: number;
}

/** The members of an object, in order, repeated names included. `text` is the object and may have space around it. */
export function members(text: string): Member[] {
  const result: Member[] = [];
  let at = space(text, space(text, 0) + 1);
  while (text[at] === '"') {
    const from = at;
    const nameEnd = string(text, at);
    const start = space(text, space(text, nameEnd) + 1);
    const end = value(text, start);
    result.push({ name: JSON.parse(text.slice(from, nameEnd)) as string, start, end, from, to: end });
    at = space(text, end);
    if (text[at] === ',') at = space(text, at + 1);
  }
  return result;
}

/** The elements of the array that begins at `at`. */
export function elements(text: string, at: number): Span[] {
  const result: Span[] = [];
  let start = space(text, at + 1);
  while (text[start] !== ']') {
    const end = value(text, start);
    result.push({ start, end });
    start = space(text, end);
    if (text[start] === ',') start = space(text, start + 1);
  }
  return result;
}

const QUOTE = 34;
const BACKSLASH = 92;

function space(text: string, at: number): number {
  let i = at;
  while (text.charCodeAt(i) <= 32) i++;
  return i;
}

/** Behind the closing quote of the string that begins at `at`. */
function string(text: string, at: number): number {
  for (let i = at + 1; ;) {
    const quote = text.indexOf('"', i);
    let first = quote;
    while (text.charCodeAt(first - 1) === BACKSLASH) first--;
    if ((quote - first) % 2 === 0) return quote + 1;
    i = quote + 1;
  }
}

/** Behind the value that begins at `at`. */
function value(text: string, at: number): number {
  let depth = 0;
  for (let i = at; ;) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) i = string(text, i);
    else if (code === 123 || code === 91) [depth, i] = [depth + 1, i + 1];
    else if (code === 125 || code === 93) [depth, i] = [depth - 1, i + 1];
    else if (depth > 0) i++;
    else {
      while (!isEnd(text.charCodeAt(i))) i++;
      return i;
    }
    if (depth === 0) return i;
  }
}

/** Comma, closing bracket or brace, white space, or the end of the text. */
const isEnd = (code: number): boolean =>
  code === 44 || code === 93 || code === 125 || code <= 32 || Number.isNaN(code);
