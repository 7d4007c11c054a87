import { AppError } from '../domain/errors.ts';

/**
 * A single byte range (RFC 9110, 14.2) as inclusive offsets; null where there is none, or several, which may be ignored.
 * @throws AppError range_not_satisfiable
 */
export function parseRange(header: string | undefined, bytes: number): { start: number; end: number } | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const [first, last] = [match[1] ?? '', match[2] ?? ''];
  const start = first === '' ? Math.max(0, bytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1);
  if (start > end || start >= bytes) {
    throw new AppError('range_not_satisfiable', {
      details: { bytes },
      headers: { 'content-range': `bytes */${bytes}` },
    });
  }
  return { start, end };
}
