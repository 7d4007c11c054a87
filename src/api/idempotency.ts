import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { invalidRequest } from '../domain/errors.ts';
import { pathOf } from './errors.ts';

/** The header as the document has it. @param meaning what a repeat is answered */
export function idempotencyKey(meaning: string) {
  const form = '1 to 255 printable ASCII characters, bare or in quotes.';
  // Judged by `idempotencyOf`, so that a refusal names the header and does not repeat it.
  return Type.Optional(Type.String({ description: `Makes a repeat safe. ${meaning} ${form}` }));
}

/**
 * The Idempotency-Key in its bare or its quoted form, with a hash of path and body.
 * @param index of a batch's item, whose body is `body`
 * @throws AppError invalid_request
 */
export function idempotencyOf(
  request: FastifyRequest,
  body: string,
  index?: number,
): { key: string; hash: Buffer } | null {
  const header = request.headers['idempotency-key'];
  if (header === undefined) return null;
  const keyed = keyedBy(String(header), { field: 'Idempotency-Key', path: pathOf(request.url), body });
  // A batch's items have keys of their own, which no client can name: the separator is not printable.
  return index === undefined ? keyed : { ...keyed, key: `${keyed.key}\u001F${index}` };
}

/** @param of the path and the body that the key stands for, as HTTP has them. @throws AppError invalid_request, naming `field` */
export function keyedBy(
  text: string,
  { field, path, body }: { field: string; path: string; body: string },
): { key: string; hash: Buffer } {
  const key = /^"(.*)"$/.exec(text)?.[1] ?? text;
  if (!/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw invalidRequest({
      path: field,
      message: 'must be 1 to 255 printable ASCII characters',
      expected: '1 to 255 printable ASCII characters',
      received: `a text of ${key.length} characters`,
    });
  }
  return { key, hash: createHash('sha256').update(path).update('\n').update(body).digest() };
}
