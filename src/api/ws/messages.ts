// What a client may say on a WebSocket (contract 14), and how it is read.
import { Type, type Static, type TProperties } from 'typebox';
import { type AppError, invalidRequest } from '../../domain/errors.ts';
import { checkJson } from '../../domain/json-gate.ts';
import { rawMember } from '../../domain/json-members.ts';
import { invalidJson, LIMITS } from '../body.ts';
import { EVENT_PATTERN } from '../../domain/event-types.ts';
import { JOBS_OR_ALL, NOW_OR_START } from '../page.ts';
import { compile, invalid } from '../validate.ts';

const REF_MAX = 64;
export const JOBS_A_SUBSCRIPTION = 100;
/** Around the job there are a message's own level and its few members. */
const MESSAGE_LIMITS = { maxDepth: LIMITS.maxDepth + 1, maxKeys: LIMITS.maxKeys + 5 };

const Ref = Type.String({ minLength: 1, maxLength: REF_MAX });
const JobId = Type.String({ maxLength: 64 });
const message = <T extends string, P extends TProperties>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ref: Ref, ...properties }, { additionalProperties: false });

const SCHEMAS = {
  submit: message('submit', {
    idempotency_key: Type.Optional(Type.String()),
    job: Type.Object({}, { additionalProperties: true }),
    subscribe: Type.Optional(Type.Boolean()),
  }),
  subscribe: message('subscribe', {
    jobs: Type.Unsafe<string[] | 'all'>({
      type: ['array', 'string'],
      items: { type: 'string', maxLength: 64 },
      minItems: 1,
      maxItems: JOBS_A_SUBSCRIPTION,
      pattern: JOBS_OR_ALL,
    }),
    after: Type.Optional(
      Type.Unsafe<number | 'now' | 'start'>({
        type: ['integer', 'string'],
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        pattern: NOW_OR_START,
      }),
    ),
    events: Type.Optional(
      Type.Array(Type.String({ pattern: EVENT_PATTERN, maxLength: 64 }), { minItems: 1, maxItems: 50 }),
    ),
    deltas: Type.Optional(Type.Boolean()),
    deltas_after: Type.Optional(
      Type.Unsafe<Record<string, { attempt: number; offset: number }>>({
        type: 'object',
        maxProperties: JOBS_A_SUBSCRIPTION,
        additionalProperties: {
          type: 'object',
          properties: {
            attempt: { type: 'integer', minimum: 1, maximum: 999_999_999 },
            offset: { type: 'integer', minimum: 0, maximum: 999_999_998 },
          },
          required: ['attempt', 'offset'],
          additionalProperties: false,
        },
      }),
    ),
  }),
  unsubscribe: message('unsubscribe', { subscription: Type.String({ maxLength: 64 }) }),
  get: message('get', { job_id: JobId }),
  cancel: message('cancel', { job_id: JobId }),
  ping: message('ping', {}),
};

export type MessageType = keyof typeof SCHEMAS;
export type Message<T extends MessageType> = Static<(typeof SCHEMAS)[T]>;
/** One of them, with the text it came as. */
export type Said = { [T in MessageType]: Message<T> & { text: string } }[MessageType];

const checks = new Map(Object.entries(SCHEMAS).map(([type, schema]) => [type, compile(schema)]));

/** What came may be nothing that we know (`unknown`), or be wrong in a field, and then still say what it answers to. */
export interface Misread {
  refusal: AppError;
  ref: string | null;
  unknown: boolean;
}

export function readMessage(bytes: Buffer, isBinary: boolean): Said | Misread {
  if (isBinary) return misread(notAMessage('must be text', 'a binary frame'));
  const fault = checkJson(bytes, MESSAGE_LIMITS);
  if (fault) return misread(invalidJson(fault));
  const text = bytes.toString('utf8');
  const value = JSON.parse(text) as Record<string, unknown> | null;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return misread(notAMessage('must be an object', 'something else'));
  const ref =
    typeof value['ref'] === 'string' && value['ref'].length > 0 && value['ref'].length <= REF_MAX
      ? value['ref']
      : null;
  const check = checks.get(String(value['type']));
  if (!check) {
    const expected = [...checks.keys()];
    const message = `must be one of: ${expected.join(', ')}`;
    const refusal = invalidRequest({ path: 'type', message, expected, received: 'another, or none' });
    return { refusal, ref, unknown: true };
  }
  if (!check(value)) return { refusal: invalid(check.errors ?? [], ''), ref, unknown: false };
  return { ...value, text } as Said;
}

const misread = (refusal: AppError): Misread => ({ refusal, ref: null, unknown: true });

function notAMessage(message: string, received: string): AppError {
  return invalidRequest(
    { path: '', message, expected: 'a JSON object as text', received },
    `The message ${message}.`,
  );
}

/** The job of a submission as the client wrote it, as it would be the body of a request. */
export const jobText = (text: string): string => rawMember(text, 'job') ?? '{}';
