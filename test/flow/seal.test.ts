// A sealed secret opens for the row it was sealed for, under any key of the ring, and in no other case.
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { linkSignature, verifyLink } from '../../src/api/links.ts';
import { type KeyRing, keyName, readKeyRing } from '../../src/domain/key-ring.ts';
import { openSeal, seal } from '../../src/flow/seal.ts';

const [OLD, NEW] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
const ring = (text: string): KeyRing => {
  const keys = readKeyRing(text);
  if (!keys) throw new Error('no ring');
  return keys;
};
const older = ring(OLD);
const both = ring(`${NEW}, ${OLD}`);
const newer = ring(NEW);

it('opens what any key of the ring sealed, and seals with the first', () => {
  const before = seal(older, 'route:rte_1', 'hush');
  expect(openSeal(both, 'route:rte_1', before)).toBe('hush');
  const after = seal(both, 'route:rte_1', 'hush');
  expect(openSeal(newer, 'route:rte_1', after)).toBe('hush');
  expect(() => openSeal(older, 'route:rte_1', after)).toThrow(
    new RegExp(`needs the key ${keyName(newer[0])}, which MILLRACE_SECRET_KEY does not name`),
  );
  expect(seal(older, 'route:rte_1', 'hush').equals(before)).toBe(false);
});

it('does not open for another owner', () => {
  const sealed = seal(newer, 'endpoint:whe_1', 'hush');
  for (const owner of ['endpoint:whe_2', 'route:whe_1', 'endpoint:whe_'] as const)
    expect(() => openSeal(newer, owner, sealed)).toThrow('sealed for another');
});

it('does not open where a single bit was changed, or bytes are missing', () => {
  const sealed = seal(newer, 'route:rte_1', 'hush');
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(() => openSeal(newer, 'route:rte_1', changed), `bit ${bit}`).toThrow();
  }
  for (let length = 0; length < sealed.length; length++)
    expect(() => openSeal(newer, 'route:rte_1', sealed.subarray(0, length)), `${length} bytes`).toThrow();
});

it('says nothing of the secret but how long it is', () => {
  expect(seal(newer, 'route:rte_1', 'hush').toString('latin1')).not.toContain('hush');
  expect(seal(newer, 'route:rte_1', '').length).toBe(33);
});

it.each(['', 'short', `${OLD},short`, `${OLD},${OLD}`, `${OLD},,${NEW}`])(
  'takes no ring for what is none: %s',
  (text) => expect(readKeyRing(text)).toBeNull(),
);

it('verifies links of every key of the ring, until they end', () => {
  const link = { id: 'art_1', expires: Math.floor(Date.now() / 1000) + 60 };
  const signature = linkSignature(older, link);
  expect(verifyLink(both, { ...link, signature })).toBe(true);
  expect(verifyLink(newer, { ...link, signature })).toBe(false);
  expect(verifyLink(newer, { ...link, signature: linkSignature(both, link) })).toBe(true);
  expect(verifyLink(both, { ...link, id: 'art_2', signature })).toBe(false);
  const over = { ...link, expires: link.expires - 120 };
  expect(verifyLink(both, { ...over, signature: linkSignature(both, over) })).toBe(false);
});
