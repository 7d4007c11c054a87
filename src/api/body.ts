// JSON bodies: looked over before they are parsed, and kept as they came.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError, fieldName, invalidRequest } from '../domain/errors.ts';
import { checkJson, type JsonFault } from '../domain/json-gate.ts';
import { checkJsonList } from '../domain/json-list.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The JSON body as the client wrote it; of a batch with `null` for each of `itemFaults`. */
    rawBody: string;
    /** Items of a batch that are no acceptable JSON, by index. */
    itemFaults: Map<number, JsonFault>;
  }
}

export const MIB = 1024 * 1024;
export const BODY_MAX_BYTES = 4 * MIB;
export const BATCH_MAX_BYTES = 16 * MIB;
/** The member of a batch that holds its items. */
export const BATCH_LIST = 'jobs';
export const LIMITS = { maxDepth: 64, maxKeys: 10_000 };
const BATCH_LIMITS = { maxDepth: 64, maxKeys: 100_000 };
const NO_FAULTS: Map<number, JsonFault> = new Map();

/** JSON is UTF-8 (RFC 8259, 8.1): another charset would have us read other words than the client wrote. */
const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?$/i;

export function installBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.decorateRequest('rawBody', '');
  app.decorateRequest('itemFaults', undefined as never);
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    try {
      done(null, readJson(request, bytes as Buffer));
    } catch (error) {
      done(error as Error, undefined);
    }
  });
  app.addHook('preValidation', (request, _reply, done) => done(strayBody(request)));
}

/** @throws AppError unsupported_media_type, invalid_json */
function readJson(request: FastifyRequest, bytes: Buffer): unknown {
  if (!JSON_TYPE.test(request.headers['content-type'] ?? '')) throw new AppError('unsupported_media_type');
  refuseEncoding(request);
  request.itemFaults = NO_FAULTS;
  // Clients that always send the type of a body send it where there is none, too.
  if (bytes.length === 0 && !takesBody(request)) return undefined;
  if (request.routeOptions.bodyLimit === BATCH_MAX_BYTES) {
    const list = checkJsonList(bytes, BATCH_LIST, BATCH_LIMITS);
    if ('reason' in list) throw invalidJson(list);
    request.rawBody = list.text;
    request.itemFaults = list.faults;
  } else {
    const fault = checkJson(bytes, LIMITS);
    if (fault) throw invalidJson(fault);
    request.rawBody = bytes.toString('utf8');
  }
  return JSON.parse(request.rawBody) as unknown;
}

export function invalidJson({ offset, reason }: JsonFault): AppError {
  return new AppError('invalid_json', {
    message: `The body is not acceptable JSON at byte ${offset}: ${reason}.`,
    details: { offset },
  });
}

/** Nothing is unpacked: what comes packed is not what we would read. @throws AppError unsupported_media_type */
export function refuseEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || encoding.trim().toLowerCase() === 'identity') return;
  throw new AppError('unsupported_media_type', {
    message: 'Send the body as it is, without a content encoding.',
    details: { accept_encoding: 'identity' },
    headers: { 'accept-encoding': 'identity' },
  });
}

const takesBody = ({ routeOptions }: FastifyRequest): boolean => routeOptions.schema?.body !== undefined;

/** A body where none is looked at would be a field that we silently ignore. An empty object says nothing, and is let be. */
function strayBody(request: FastifyRequest): AppError | undefined {
  const { body } = request;
  if (body === undefined || body === null || takesBody(request) || request.is404) return undefined;
  const stranger = typeof body === 'object' ? Object.keys(body)[0] : '';
  if (stranger === undefined) return undefined;
  return invalidRequest({
    path: fieldName(stranger),
    message: 'is not a field we know',
    expected: 'no body',
    received: 'a value',
  });
}
