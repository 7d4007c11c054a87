// A body that is a list of things to be judged one by one: one that the gate refuses must not spoil its neighbours.
import { checkJson, type JsonFault, type JsonLimits } from './json-gate.ts';
import { itemPlaces, members } from './json-members.ts';

export interface JsonList {
  /** The body with `null` where the items stood that the gate refused. */
  text: string;
  /** What is wrong with those, by their index. Offsets are in the body as it came. */
  faults: Map<number, JsonFault>;
}

/**
 * Reads an object whose member `name` is a list of items, each of which may be refused alone.
 * A fault is answered where it lies outside the items, or where no item explains it (too many keys in all).
 */
export function checkJsonList(bytes: Buffer, name: string, limits: JsonLimits): JsonList | JsonFault {
  const fault = checkJson(bytes, limits);
  if (!fault) return { text: bytes.toString('utf8'), faults: new Map() };
  const places = placesOf(bytes, name);
  if (!places) return fault;
  // An item stands within an object and a list.
  const alone = { ...limits, maxDepth: limits.maxDepth - 2, duplicateKeysToDepth: 2 };
  const faults = new Map<number, JsonFault>();
  const parts: Buffer[] = [];
  let behind = 0;
  for (const [index, { start, end }] of places.entries()) {
    const wrong = checkJson(bytes.subarray(start, end), alone);
    if (!wrong) continue;
    faults.set(index, { ...wrong, offset: start + wrong.offset });
    parts.push(bytes.subarray(behind, start), NULL);
    behind = end;
  }
  const mended = Buffer.concat([...parts, bytes.subarray(behind)]);
  // How the items were told apart was a guess until now: what is left must pass as a whole.
  return faults.size === 0 || checkJson(mended, limits) ? fault : { text: mended.toString('utf8'), faults };
}

const NULL = Buffer.from('null');

/** One character a byte, so that places in the text are places in the bytes. Null: this is no such body. */
function placesOf(bytes: Buffer, name: string): { start: number; end: number }[] | null {
  const text = bytes.toString('latin1');
  try {
    const list = members(text).find((member) => member.name === name);
    if (!list) return null;
    return itemPlaces(text.slice(list.start, list.end)).map(({ start, end }) => ({
      start: list.start + start,
      end: list.start + end,
    }));
  } catch {
    return null;
  }
}
