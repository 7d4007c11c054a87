// Reed-Solomon over GF(256), polynomial 0x11d, first root alpha^0: a block of data and `parity` bytes survives the loss
// of any parity / 2 of its bytes. Polynomials are arrays with the highest power first.

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  EXP[i] = EXP[i + 255] = x;
  LOG[x] = i;
  x = x & 0x80 ? (x << 1) ^ 0x11d : x << 1;
}

const mul = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : EXP[LOG[a]! + LOG[b]!]!);
const div = (a: number, b: number): number => (a === 0 ? 0 : EXP[LOG[a]! + 255 - LOG[b]!]!);
const power = (exponent: number): number => EXP[((exponent % 255) + 255) % 255]!;

const generators = new Map<number, Uint8Array>();

function generator(parity: number): Uint8Array {
  const known = generators.get(parity);
  if (known) return known;
  let poly = Uint8Array.of(1);
  for (let i = 0; i < parity; i++) {
    const next = new Uint8Array(poly.length + 1);
    for (let j = 0; j < poly.length; j++) {
      next[j]! ^= poly[j]!;
      next[j + 1]! ^= mul(poly[j]!, power(i));
    }
    poly = next;
  }
  generators.set(parity, poly);
  return poly;
}

/** `data` followed by `parity` check bytes. At most 255 bytes in all. */
export function rsEncode(data: Uint8Array, parity: number): Uint8Array {
  const block = new Uint8Array(data.length + parity);
  block.set(data);
  const poly = generator(parity);
  for (let i = 0; i < data.length; i++) {
    const factor = block[i]!;
    if (factor === 0) continue;
    for (let j = 1; j < poly.length; j++) block[i + j]! ^= mul(poly[j]!, factor);
  }
  block.set(data);
  return block;
}

/** The data of a block of which up to `parity` / 2 bytes are wrong. Null when more are: it cannot be told what was sent. */
export function rsDecode(received: Uint8Array, parity: number): Uint8Array | null {
  const block = Uint8Array.from(received);
  const found = syndromes(block, parity);
  if (found.every((value) => value === 0)) return block.subarray(0, block.length - parity);
  const locator = errorLocator(found);
  const errors = locator.length - 1;
  if (errors * 2 > parity) return null;
  const positions = errorPositions(locator, block.length);
  if (positions.length !== errors) return null;
  correct(block, { found, locator, positions });
  if (syndromes(block, parity).some((value) => value !== 0)) return null;
  return block.subarray(0, block.length - parity);
}

function syndromes(block: Uint8Array, parity: number): Uint8Array {
  const result = new Uint8Array(parity);
  for (let i = 0; i < parity; i++) {
    let sum = 0;
    for (let j = 0; j < block.length; j++) sum = mul(sum, power(i)) ^ block[j]!;
    result[i] = sum;
  }
  return result;
}

/** Berlekamp-Massey. Lowest power first, the constant term 1; its degree is the number of errors. */
function errorLocator(found: Uint8Array): number[] {
  let current = [1];
  let previous = [1];
  let length = 0;
  let gap = 1;
  let lastDiscrepancy = 1;
  for (let n = 0; n < found.length; n++) {
    let discrepancy = found[n]!;
    for (let i = 1; i <= length; i++) discrepancy ^= mul(current[i] ?? 0, found[n - i]!);
    if (discrepancy === 0) {
      gap++;
      continue;
    }
    const before = current;
    current = minusShifted(current, previous, { factor: div(discrepancy, lastDiscrepancy), shift: gap });
    if (2 * length <= n) {
      length = n + 1 - length;
      previous = before;
      lastDiscrepancy = discrepancy;
      gap = 1;
    } else {
      gap++;
    }
  }
  while (current.length > 1 && current.at(-1) === 0) current.pop();
  return current;
}

function minusShifted(
  a: number[],
  b: number[],
  { factor, shift }: { factor: number; shift: number },
): number[] {
  const result = a.slice();
  while (result.length < b.length + shift) result.push(0);
  for (let i = 0; i < b.length; i++) result[i + shift]! ^= mul(b[i]!, factor);
  return result;
}

/** Powers of x (0 = last byte) at which the block is wrong: the roots of the locator, tried one by one. */
function errorPositions(locator: number[], length: number): number[] {
  const positions: number[] = [];
  for (let position = 0; position < length; position++) {
    if (valueAt(locator, power(-position)) === 0) positions.push(position);
  }
  return positions;
}

/** Forney's formula, for a first root of alpha^0. */
function correct(
  block: Uint8Array,
  { found, locator, positions }: { found: Uint8Array; locator: number[]; positions: number[] },
): void {
  const evaluator: number[] = Array.from(found, () => 0);
  for (let i = 0; i < found.length; i++) {
    for (let j = 0; j <= i && j < locator.length; j++) evaluator[i]! ^= mul(locator[j]!, found[i - j]!);
  }
  // In characteristic 2 the derivative keeps the odd terms alone.
  const derivative = locator.map((value, i) => (i % 2 === 1 ? value : 0)).slice(1);
  for (const position of positions) {
    const inverse = power(-position);
    const magnitude = mul(power(position), div(valueAt(evaluator, inverse), valueAt(derivative, inverse)));
    block[block.length - 1 - position]! ^= magnitude;
  }
}

/** A polynomial with the lowest power first, at x. */
function valueAt(poly: number[], x: number): number {
  let sum = 0;
  for (let i = poly.length - 1; i >= 0; i--) sum = mul(sum, x) ^ poly[i]!;
  return sum;
}
