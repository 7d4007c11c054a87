// Whether what an operator says of a model fits its kind: prices, costs, routes' data.
import { type AppError, invalidRequest } from '../../domain/errors.ts';
import type { Kind } from '../../domain/job.ts';
import type { ModelData, RouteData } from '../../domain/model.ts';
import { byTokens, fitsKind, unitsOf } from '../../domain/pricing.ts';
import { INPUTS } from '../../domain/submission.ts';
import type { PriceForm } from './admin-forms.ts';

/** A job is sold only where each thing it uses has its price; a cost may be unknown. */
export function assertFits(
  kind: Kind,
  lines: PriceForm['lines'],
  { path, whole }: { path: string; whole: boolean },
): void {
  if (fitsKind(kind, lines, { whole })) return;
  const ways = unitsOf(kind);
  const units = ways.map((way) => way.join(' and ')).join(whole ? ', or for ' : ' and ');
  throw invalidRequest({
    path,
    message: `must hold ${whole ? 'one line' : 'at most one line'} each for ${units}, since the model is of kind ${kind}`,
    expected: ways.length === 1 ? ways[0] : ways,
    received: lines.map(({ name, measure }) => `${name} ${measure}`),
  });
}

/** What a model's data must say before it can be sold by tokens: how many there may be. */
const TOKEN_BOUNDS: Record<Exclude<Kind, 'chat'>, readonly (keyof ModelData)[]> = {
  image: ['image_tokens'],
  tts: ['tokens_per_character'],
  stt: ['input_tokens_per_second', 'output_tokens_per_second'],
};

/** @param path of what is asked to change: the price's lines, or the model's data */
export function assertBounded(
  { kind, data, lines }: { kind: Kind; data: ModelData; lines: Parameters<typeof byTokens>[0] },
  path: 'lines' | 'data',
): void {
  if (kind === 'chat' || !byTokens(lines)) return;
  const missing = TOKEN_BOUNDS[kind].filter((name) => data[name] === undefined);
  if (missing.length === 0) return;
  const names = missing.join(' and ');
  throw invalidRequest({
    path,
    message:
      path === 'data'
        ? `must hold ${names}, since the model is sold by tokens: nothing could be held without`
        : `must not be tokens before the model's data say ${names}: nothing could be held without`,
    expected: missing,
    received: null,
  });
}

const KIND_OF: Partial<Record<keyof RouteData, Kind>> = {
  transcript_format: 'stt',
  pcm_rate: 'tts',
  voice: 'tts',
};
/** Fields that we send of ourselves, so that a route may say whether its upstream takes them. */
const OURS: Record<Exclude<Kind, 'chat'>, readonly string[]> = {
  image: ['response_format'],
  tts: ['stream_format'],
  stt: ['response_format', 'timestamp_granularities'],
};

/** A chat's fields may be any; those of the other kinds are all known, so that a name that is none is a slip. */
export function assertRouteData(kind: Kind, data: RouteData): void {
  const stray = Object.keys(data).find((name) => (KIND_OF[name as keyof RouteData] ?? kind) !== kind);
  if (stray !== undefined)
    throw strayData(`data.${stray}`, `must not be there, since the model is of kind ${kind}`);
  if (kind === 'chat') {
    if (data.leave_out === undefined) return;
    throw strayData('data.leave_out', 'must not be there, since a chat travels as the bytes that came');
  }
  const known = [...Object.keys(INPUTS[kind].properties).filter((name) => name !== 'sim'), ...OURS[kind]];
  for (const list of ['fields', 'leave_out'] as const) {
    if ((data[list] ?? []).every((name) => known.includes(name))) continue;
    throw invalidRequest({
      path: `data.${list}`,
      message: `must name fields of ${kind}: ${known.join(', ')}`,
      expected: known,
      received: 'another name',
    });
  }
}

function strayData(path: string, message: string): AppError {
  return invalidRequest({ path, message, expected: 'no such field', received: 'a value' });
}
