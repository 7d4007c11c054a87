// One Ajv for every schema: the ones Fastify checks and the ones a batch's items are checked with alone.
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';
import { AppError } from '../domain/errors.ts';
import type { Kind } from '../domain/job.ts';
import { INPUTS, Submission } from '../domain/submission.ts';

const strict = new Ajv({
  allErrors: false,
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: true,
  verbose: true,
  strict: false,
});
/** Query strings and paths are text, so numbers and booleans are read out of it. */
const lenient = new Ajv({
  allErrors: false,
  coerceTypes: true,
  removeAdditional: false,
  useDefaults: true,
  verbose: true,
  strict: false,
});
for (const ajv of [strict, lenient]) {
  (formats as unknown as (ajv: Ajv) => void)(ajv);
  const { validate } = ajv.formats['date-time'] as { validate(text: string): boolean };
  ajv.addFormat('date-time', (text: string) => validate(text) && isInstant(text));
}

/** The standard's leap seconds, year 0 and hours alone as an offset mean nothing to JavaScript, or to PostgreSQL. */
function isInstant(text: string): boolean {
  return Date.parse(text) >= Date.parse('0001-01-02T00:00:00Z');
}

export function compile(schema: object, part?: string): ValidateFunction {
  return (part === 'querystring' || part === 'params' || part === 'headers' ? lenient : strict).compile(
    schema,
  );
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
  const issues = errors.slice(0, 10).map((error) => issueOf(error, prefix));
  const first = issues[0];
  return new AppError('invalid_request', {
    message: first ? `${first.path || 'The body'} ${first.message}.` : 'The request is not valid.',
    details: { issues },
  });
}

function issueOf({ instancePath, keyword, params, message, data }: ErrorObject, prefix: string) {
  const p = params as Record<string, unknown>;
  const extra = p['additionalProperty'] ?? p['missingProperty'];
  const path = [prefix, ...instancePath.split('/').slice(1), ...(extra === undefined ? [] : [String(extra)])]
    .filter(Boolean)
    .join('.');
  if (keyword === 'additionalProperties')
    return { path, message: 'is not a field we know', expected: 'no such field', received: 'a value' };
  if (keyword === 'required') return { path, message: 'is required', expected: 'a value', received: null };
  const allowed =
    p['allowedValues'] ?? p['allowedValue'] ?? p['type'] ?? p['limit'] ?? p['format'] ?? p['pattern'] ?? null;
  const suffix = keyword === 'enum' && Array.isArray(allowed) ? `: ${allowed.join(', ')}` : '';
  return { path, message: `${message ?? 'is not valid'}${suffix}`, expected: allowed, received: brief(data) };
}

/** Numbers and booleans as they are; text only by its length, since it may be a prompt or a secret. */
function brief(data: unknown): unknown {
  if (data === null || typeof data === 'number' || typeof data === 'boolean') return data;
  if (typeof data === 'string')
    return data.length <= 64 && /^[\w./:+-]*$/.test(data) ? data : `a text of ${data.length} characters`;
  if (Array.isArray(data)) return `a list of ${data.length}`;
  return typeof data;
}
