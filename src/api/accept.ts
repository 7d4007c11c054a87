import type { FastifyRequest } from 'fastify';
import { AppError } from '../domain/errors.ts';

/**
 * The one of our forms that the client would rather have; the first where it has no wish (RFC 9110, 12.5.1).
 * @throws AppError not_acceptable if it wants none of them
 */
export function acceptable<T extends string>({ headers }: FastifyRequest, forms: readonly T[]): T {
  const ranges = (headers.accept ?? '*/*').split(',').map(parseRange);
  const weight = (form: T): number =>
    ranges
      .filter(({ range }) => matches(range, form))
      .toSorted((a, b) => specific(b.range) - specific(a.range))[0]?.weight ?? 0;
  const best = forms.toSorted((a, b) => weight(b) - weight(a))[0];
  if (best !== undefined && weight(best) > 0) return best;
  throw new AppError('not_acceptable', { details: { available: forms } });
}

function parseRange(text: string): { range: string; weight: number } {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const q = parameters.find((parameter) => parameter.startsWith('q='));
  const weight = q === undefined ? 1 : Number(q.slice(2));
  return { range, weight: weight >= 0 && weight <= 1 ? weight : 0 };
}

const matches = (range: string, form: string): boolean =>
  range === form || range === '*/*' || (range.endsWith('/*') && form.startsWith(range.slice(0, -1)));

/** `text/plain` says more than `text/*`, and that more than `*` alone. */
const specific = (range: string): number => (range === '*/*' ? 0 : range.endsWith('/*') ? 1 : 2);
