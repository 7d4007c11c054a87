// An input by URL, fetched through the guarded door, becomes an upload like any other.
import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import { EgressCut, type Opened } from '../egress/egress.ts';
import { ARTIFACT_MAX_BYTES, storeUpload, type Upload } from './upload.ts';

const MOST_HOPS = 3;
const TOTAL_MS = 60_000;

/** Why there are no bytes, in words for the client, which never hold any of the answer's. */
export class Unfetched extends Error {
  /** A refusal of the door's, or what became of the request. */
  readonly why: string;
  readonly httpStatus: number | null;
  /** The same URL may be fetched later. */
  readonly passing: boolean;

  constructor(why: string, message: string, rest: { httpStatus?: number; passing?: boolean } = {}) {
    super(message);
    this.why = why;
    this.httpStatus = rest.httpStatus ?? null;
    this.passing = rest.passing ?? false;
  }

  /** @param field that held the URL */
  refusal(field: string): AppError {
    return new AppError('input_unreachable', {
      message: this.message,
      details: {
        field,
        why: this.why,
        ...(this.httpStatus !== null && { http_status: this.httpStatus }),
      },
    });
  }
}

/** The refusal of a URL that would never be fetched, as far as it shows; null: it may be tried. */
export function unfetchable(ctx: Context, url: string): Unfetched | null {
  const refusal = ctx.egress.refusal(url);
  return refusal && refused(refusal);
}

/**
 * The bytes behind a URL, in storage.
 * @throws Unfetched; AppError body_too_large, input_unsupported
 */
export async function fetchUpload(
  ctx: Context,
  { url, field, signal }: { url: string; field: string; signal: AbortSignal },
): Promise<Upload> {
  const opened = await ctx.egress.open({
    method: 'GET',
    url,
    headers: {},
    maxHops: MOST_HOPS,
    maxBytes: ARTIFACT_MAX_BYTES,
    totalMs: TOTAL_MS,
    signal,
  });
  const { headers, body } = answer(opened, field);
  try {
    const [contentType = ''] = (headers['content-type'] ?? '').split(';');
    return await storeUpload(ctx, { content: body, contentType: contentType.trim() });
  } catch (error) {
    throw error instanceof EgressCut ? cut(error) : error;
  } finally {
    body.destroy();
  }
}

function answer(opened: Opened, field: string): Opened & { how: 'answered' } {
  switch (opened.how) {
    case 'refused':
      throw refused(opened.refusal);
    case 'too_large':
      throw tooLarge();
    case 'timeout':
    case 'stopped':
      throw cut(new EgressCut(opened.how));
    case 'failed':
      // A certificate, or a way of speaking, does not pass with time.
      throw new Unfetched(
        WHY[opened.code] ?? 'connection',
        `The URL could not be fetched. ${opened.message}`,
        {
          passing: opened.code !== 'ETLS' && opened.code !== 'EPROTO',
        },
      );
    case 'answered':
  }
  const { status, headers, body } = opened;
  if (status === 200 && (headers['content-encoding'] ?? 'identity') === 'identity') return opened;
  body.destroy();
  if (status === 200)
    throw new AppError('input_unsupported', {
      message: 'The URL answers with compressed bytes, though they were asked for as they are.',
      details: { field },
    });
  if (status >= 300 && status < 400)
    throw new Unfetched('redirects', `The URL redirects more than ${MOST_HOPS} times, or nowhere.`, {
      httpStatus: status,
    });
  throw new Unfetched('http_status', `The URL answers with status ${status}.`, {
    httpStatus: status,
    passing: status >= 500 || status === 408 || status === 425 || status === 429,
  });
}

const WHY: Record<string, string> = { EDNS: 'name_servers', ETLS: 'tls', EPROTO: 'protocol' };

const refused = (why: string): Unfetched =>
  new Unfetched(why, `The URL is not fetched: ${SAID[why] ?? why}.`);

const SAID: Record<string, string> = {
  malformed: 'it is not one we take',
  scheme: 'it must begin with https://',
  userinfo: 'it must hold no name and no password',
  port: 'its port must be 443 or 8443',
  private_address: 'its host is not on the public internet',
  unresolvable: 'its host has no address',
};

const tooLarge = (): AppError =>
  new AppError('body_too_large', { details: { max_bytes: ARTIFACT_MAX_BYTES } });

function cut({ why }: EgressCut): Error {
  if (why === 'too_large') return tooLarge();
  const lost = why === 'lost';
  const message = lost ? 'The answer broke off.' : `The bytes did not arrive within ${TOTAL_MS / 1000} s.`;
  return new Unfetched(lost ? 'connection' : why, `The URL could not be fetched. ${message}`, {
    passing: true,
  });
}
