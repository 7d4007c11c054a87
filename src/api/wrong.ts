// What is wrong with a value, in words that follow on its path. The schemas' own checker speaks of characters and patterns.
import type { ErrorObject } from 'ajv';
import { EVENT_PATTERN } from '../domain/event-types.ts';
import { MODEL_ID } from '../domain/model.ts';
import { INPUTS } from '../domain/submission.ts';
import { CHAT_FIELDS } from '../flow/known-fields.ts';
import { CURSORS, JOBS_OR_ALL, NOW_OR_START } from './page.ts';

export const BELONGS_IN_INPUT = 'belongs in input';

type Words = { is: string; like: string };

const ID = '01k9s7v3m8e6q0x4t2b5n7r9ca';

/** What patterns and formats mean, with a value that fits. */
export const FORMS: Record<string, Words> = {
  [JOBS_OR_ALL]: { is: 'a list of ids of jobs, or "all"', like: 'all' },
  [NOW_OR_START]: { is: 'the number of an event, "now" or "start"', like: 'now' },
  'date-time': { is: 'an instant of RFC 3339', like: '2026-11-20T12:00:00Z' },
  [CURSORS.acc]: { is: 'the id of an account', like: `acc_${ID}` },
  [CURSORS.job]: { is: 'the id of a job', like: `job_${ID}` },
  [CURSORS.art]: { is: 'the id of an artifact', like: `art_${ID}` },
  [CURSORS.whe]: { is: 'the id of a webhook endpoint', like: `whe_${ID}` },
  [CURSORS.dlv]: { is: 'the id of a delivery', like: `dlv_${ID}` },
  [EVENT_PATTERN]: { is: 'a type of event, a subject with .*, or *', like: 'job.succeeded' },
  [MODEL_ID]: { is: 'the id of a model: letters, digits and . _ : / @ -', like: 'vendor/model-1' },
  '^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$': { is: 'a width and a height in pixels', like: '512x512' },
  '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$': { is: 'a word of letters, digits and . _ -', like: 'free' },
  '^[0-9]{1,18}$': { is: '1 to 18 digits', like: '1000000' },
  '^[A-Za-z0-9+/]*={0,2}$': { is: 'base64', like: 'UklGRg==' },
  '^[\\w.+-]{1,60}/[\\w.+-]{1,60}$': { is: 'a media type without parameters', like: 'audio/wav' },
  '^[0-9a-f]{64}$': {
    is: 'a SHA-256 in 64 hexadecimal digits, in lower case',
    like: '0123456789abcdef'.repeat(4),
  },
  '^[a-z0-9-]+(\\.[a-z0-9-]+)+$': { is: 'the name of a host', like: 'files.example.com' },
  '^[!-~]{1,500}$': { is: 'printable ASCII without a space', like: 'key-123' },
};

const TYPES: Record<string, string> = {
  integer: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  null: 'null',
};

const UNITS = {
  minLength: 'character',
  maxLength: 'character',
  minItems: 'item',
  maxItems: 'item',
  minProperties: 'member',
  maxProperties: 'member',
} as const;

export const count = (number: unknown, thing: string): string =>
  `${number} ${thing}${number === 1 ? '' : 's'}`;

export const formOf = ({ pattern, format }: { pattern?: string; format?: string } = {}): Words | undefined =>
  FORMS[pattern ?? format ?? ''];

/** Beside `input` is where those who know other APIs put what belongs into it. */
function unknownField(name: string, parent: { properties?: object } = {}): string {
  const { properties = {} } = parent;
  const isSubmission = 'input' in properties && 'model' in properties;
  if (isSubmission && INPUT_FIELDS.has(name)) return BELONGS_IN_INPUT;
  const hint = isSubmission ? '; what the model is to be asked belongs in input' : '';
  return `is not a field we know${hint}`;
}

const INPUT_FIELDS = new Set([
  ...CHAT_FIELDS,
  ...Object.values(INPUTS).flatMap(({ properties }) => Object.keys(properties)),
]);

/** @returns e.g. `must be at least 1` */
export function wrong(error: ErrorObject): string {
  const { keyword, params, parentSchema, propertyName } = error;
  const { limit, type, additionalProperty, allowedValues, allowedValue } = params as Record<string, unknown>;
  if (propertyName !== undefined)
    return `must have a name of ${keyword === 'minLength' ? 'at least' : 'at most'} ${count(limit, 'character')}`;
  const form = formOf(parentSchema as object);
  switch (keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
      return unknownField(String(additionalProperty), parentSchema as object);
    case 'type':
    case 'format':
    case 'pattern':
      if (form) return `must be ${form.is}${keyword === 'type' ? ', in quotes' : ''}, as "${form.like}"`;
      return `must be ${[type]
        .flat()
        .map((one) => TYPES[String(one)] ?? String(one))
        .join(' or ')}`;
    case 'enum':
      return `must be one of: ${(allowedValues as unknown[]).join(', ')}`;
    case 'const':
      return `must be ${JSON.stringify(allowedValue)}`;
    case 'minLength':
    case 'minItems':
    case 'minProperties':
      return limit === 1 ? 'must not be empty' : `must have at least ${count(limit, UNITS[keyword])}`;
    case 'maxLength':
    case 'maxItems':
    case 'maxProperties':
      return `must have at most ${count(limit, UNITS[keyword])}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'exclusiveMinimum':
      return `must be more than ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    default:
      return error.message ?? 'is not valid';
  }
}
