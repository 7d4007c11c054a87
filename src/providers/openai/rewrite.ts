// A client's JSON body with some of its top-level members rewritten, and every other byte as it came.
import { members } from './json-scan.ts';

export interface Changes {
  /** New values as JSON text, by name. A member that is not there is added at the end. */
  set: Record<string, string>;
  /** Names whose members are left out. */
  drop: readonly string[];
}

/** `text` must be a valid JSON object. A name that occurs twice is changed, or left out, each time. */
export function rewrite(text: string, { set, drop }: Changes): string {
  const missing = new Map(Object.entries(set));
  const all = members(text);
  let result = '';
  let kept = false;
  let behind = 0;
  for (const { name, start, end, from } of all) {
    // What lies between two members, comma included, goes with the second; what lies before the first stays in any case.
    const gap = text.slice(behind, from);
    if (behind === 0) result = gap;
    behind = end;
    if (drop.includes(name)) continue;
    const value = Object.hasOwn(set, name) ? set[name]! : text.slice(start, end);
    missing.delete(name);
    result += `${kept ? gap : ''}${text.slice(from, start)}${value}`;
    kept = true;
  }
  const tail = all.length > 0 ? text.slice(behind) : '}';
  if (all.length === 0) result = '{';
  for (const [name, value] of missing) {
    result += `${kept ? ',' : ''}${JSON.stringify(name)}:${value}`;
    kept = true;
  }
  return result + tail;
}
