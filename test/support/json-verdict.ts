import { expect } from 'vitest';
import { checkJson, type JsonFault, type JsonLimits } from '../../src/domain/json-gate.ts';
import { placed } from './json-texts.ts';

export const LIMITS: JsonLimits = { maxDepth: 64, maxKeys: 10_000 };

/** The verdict, which must not depend on where in memory the body lies. */
export function check(body: string | number[], limits = LIMITS): JsonFault | null {
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body);
  const [verdict, ...others] = [0, 1, 2, 3].map((shift) => checkJson(placed(bytes, shift), limits));
  for (const other of others) expect(other).toEqual(verdict);
  return verdict!;
}

export const fault = (offset: number, reason: string): JsonFault => ({ offset, reason });
