// One Ajv for every schema: the ones Fastify checks and the ones a batch's items are checked with alone.
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv';
import { type AppError, fieldName, invalidRequest, type Issue } from '../domain/errors.ts';
import { isInstant } from '../domain/instant.ts';
import type { Kind } from '../domain/job.ts';
import { INPUTS, Submission } from '../domain/submission.ts';
import { BELONGS_IN_INPUT, count, formOf, wrong } from './wrong.ts';

function openAjv(coerceTypes: boolean): Ajv {
  // `allErrors` would let one request cost as many errors as it has items.
  const options: Options = { allErrors: false, coerceTypes, useDefaults: true, verbose: true, strict: false };
  return new Ajv(options).addFormat('date-time', isInstant);
}

const strict = openAjv(false);
/** Query strings and paths are text, so numbers and booleans are read out of it. */
const lenient = openAjv(true);

export function compile(schema: object, part?: string): ValidateFunction {
  return (part === 'querystring' || part === 'params' || part === 'headers' ? lenient : strict).compile(
    schema,
  );
}

/** For a route whose body is judged piece by piece, by its handler; the rest is validated as everywhere. */
export function exceptBody({ schema, httpPart }: { schema: unknown; httpPart?: string }) {
  return httpPart === 'body' ? () => true : compile(schema as object, httpPart);
}

const checkSubmission = compile(Submission);
const checkInput = Object.fromEntries(
  Object.entries(INPUTS).map(([kind, schema]) => [kind, compile(schema)]),
) as Record<Kind, ValidateFunction>;

/** @throws AppError invalid_request */
export function asSubmission(value: unknown): Submission {
  if (!checkSubmission(value)) throw invalid(checkSubmission.errors ?? [], '');
  return value as Submission;
}

/** @throws AppError invalid_request */
export function assertInput(kind: Kind, input: unknown): void {
  const check = checkInput[kind];
  if (!check(input)) throw invalid(check.errors ?? [], 'input');
}

/** @param prefix where the schema's root stands in the body */
export function invalid(errors: readonly ErrorObject[], prefix: string): AppError {
  const first = errors[0];
  if (!first) throw new Error('a schema refused a value and named no error');
  return invalidRequest(issueOf(first, prefix));
}

const WORD_MAX = 64;

function issueOf(error: ErrorObject, prefix: string): Issue {
  const { instancePath, keyword, params, parentSchema, data, propertyName } = error;
  const p = params as Record<string, unknown>;
  const extra = propertyName ?? p['additionalProperty'] ?? p['missingProperty'];
  const names = instancePath.split('/').slice(1).map(unescapePointer);
  if (extra !== undefined) names.push(String(extra));
  const path = [...(prefix === '' ? [] : [prefix]), ...names.map(fieldName)].join('.');
  const message = wrong(error);
  if (keyword === 'additionalProperties') {
    const expected = message === BELONGS_IN_INPUT ? `input.${names.at(-1)}` : 'no such field';
    return { path, message, expected, received: 'a value' };
  }
  if (keyword === 'required') return { path, message, expected: 'a value', received: null };
  const expected =
    p['allowedValues'] ??
    p['allowedValue'] ??
    formOf(parentSchema as object)?.like ??
    p['type'] ??
    p['limit'] ??
    null;
  const received = brief(data, { keyword, content: CONTENT.test(path) });
  return { path, message, expected, received };
}

/** What a person wrote, or may have: of its values only the kind and the size are told. */
const CONTENT = /^$|^(?:input|metadata|end_user|name|reason|api_key)\b/;

/** A word that was to be one of a few is repeated, and a number that was out of its bounds; else the kind of the value. */
function brief(data: unknown, { keyword, content }: { keyword: string; content: boolean }): unknown {
  if (data === null || typeof data === 'boolean') return data;
  if (typeof data === 'number') return content && keyword === 'type' ? 'a number' : data;
  if (typeof data === 'string') {
    const repeatable = !content && data.length <= WORD_MAX && /^[\w./:+-]+$/.test(data);
    return repeatable ? data : `a text of ${count(data.length, 'character')}`;
  }
  return Array.isArray(data) ? `a list of ${count(data.length, 'item')}` : 'an object';
}

const unescapePointer = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~');
