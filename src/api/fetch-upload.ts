// An upload by URL: `{"url": "https://…"}`.
import type { FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import { fetchUpload, Unfetched } from '../flow/fetch-input.ts';
import type { Upload } from '../flow/upload.ts';
import { compile, invalid } from './validate.ts';

export const Fetch = Type.Object(
  {
    url: Type.String({
      description: 'https, on port 443 or 8443 of a public host; 3 redirects, 60 s in all.',
    }),
  },
  { additionalProperties: false },
);
type Fetch = Static<typeof Fetch>;

/** Of all keys of an account together, or a few keys of one could take them all from everybody else. */
const FETCHES_AN_ACCOUNT = 4;
/** A fetch takes a socket, a draft on the disk and up to a minute. */
const FETCHES = 32;
const open = new Map<string, number>();
let all = 0;

const check = compile(Fetch);

export const isFetch = (body: unknown): body is object =>
  typeof body === 'object' && body !== null && 'url' in body;

/** @throws AppError invalid_request, too_many_connections, input_unreachable, input_unsupported, body_too_large */
export async function fetchFor(ctx: Context, request: FastifyRequest, body: object): Promise<Upload> {
  if (!check(body)) throw invalid(check.errors ?? [], '');
  const { url } = body as Fetch;
  const { accountId } = request.caller;
  const count = open.get(accountId) ?? 0;
  if (count >= FETCHES_AN_ACCOUNT || all >= FETCHES) throw busy(count);
  open.set(accountId, count + 1);
  all += 1;
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  // Of the socket and not of the request, which is closed once it is read.
  const { socket } = request.raw;
  socket.once('close', leave);
  try {
    return await fetchUpload(ctx, { url, field: 'url', signal: gone.signal });
  } catch (error) {
    throw error instanceof Unfetched ? error.refusal('url') : error;
  } finally {
    socket.off('close', leave);
    all -= 1;
    const left = (open.get(accountId) ?? 1) - 1;
    if (left === 0) open.delete(accountId);
    else open.set(accountId, left);
  }
}

function busy(ofAccount: number): AppError {
  const own = ofAccount >= FETCHES_AN_ACCOUNT;
  return new AppError('too_many_connections', {
    message: `Too many URLs are being fetched ${own ? 'for this account' : 'at present'}. Try again when one has ended.`,
    details: { max: own ? FETCHES_AN_ACCOUNT : FETCHES },
    headers: { 'retry-after': '5' },
  });
}
