// The worst case of a job, before it is called: its bounds, the most it may use, and so its hold (contract 0).
import { AppError, invalidRequest } from './errors.ts';
import type { Bounds, UsageLine } from './job.ts';
import { type Model, parseSize } from './model.ts';
import { type Cap, capsFor, type PlanTerms } from './plan.ts';
import { byTokens, priceOf } from './pricing.ts';
import type { PromptSize } from './prompt.ts';
import type { ChatInput, ImageInput, SttInput, TtsInput } from './submission.ts';
import { tokensOf, unitOf, type Work } from './work.ts';

/** An input that passed its kind's schema, with what only its bytes or its artifact can tell. */
export type KnownInput =
  | { kind: 'chat'; input: ChatInput; prompt: PromptSize }
  | { kind: 'image'; input: ImageInput }
  | { kind: 'tts'; input: TtsInput }
  | { kind: 'stt'; input: SttInput; /** Null: no telling before it is heard. */ audioMs: number | null };

export interface Worst {
  bounds: Bounds;
  usage: UsageLine[];
  hold: bigint;
}

/** @throws AppError plan_cap_exceeded, invalid_request, input_too_large, input_too_long, input_unsupported, price_unknown */
export function worstCase(known: KnownInput, model: Model, terms: PlanTerms): Worst {
  if (!model.price) throw new AppError('price_unknown', { details: { model: model.id } });
  const { lines } = model.price;
  const { bounds, usage } = measured(known, model, terms);
  if (model.data.charge_refused) bounds.charge_refused = true;
  // What is free says so with a rate of 0: a rate that is missing was forgotten.
  if (!usage.every((used) => lines.some((line) => line.name === used.name && line.measure === used.measure)))
    throw new AppError('price_unknown', { details: { model: model.id } });
  const hold = priceOf(lines, usage);
  for (const cap of capsFor(terms, 'request_cost', model.tags)) {
    if (hold > BigInt(cap.max)) throw beyond(cap, 'input', hold);
  }
  for (const cap of known.kind === 'image' ? capsFor(terms, 'image_cost', model.tags) : []) {
    if (hold > BigInt(cap.max) * BigInt(bounds.n ?? 1)) throw beyond(cap, 'input.size', hold);
  }
  return { bounds, usage, hold };
}

/** In what the model is sold by. */
function measured(known: KnownInput, model: Model, terms: PlanTerms): Omit<Worst, 'hold'> {
  if (known.kind === 'chat') return chat(known.input, known.prompt, { model, terms });
  const { bounds, work } = bound(known, model, terms);
  const { price, data } = model;
  if (!price || !byTokens(price.lines)) return { bounds, usage: [unitOf(work)] };
  const usage = tokensOf(work, known.input, { data, bytesPerToken: 1 });
  // How many it may be, the operator has not said: nothing can be held.
  if (!usage) throw new AppError('price_unknown', { details: { model: model.id } });
  return { bounds, usage };
}

interface Bound {
  bounds: Bounds;
  /** The most that is asked for. */
  work: Work;
}

function bound(known: Exclude<KnownInput, { kind: 'chat' }>, model: Model, terms: PlanTerms): Bound {
  switch (known.kind) {
    case 'image':
      return image(known.input, model, terms);
    case 'tts':
      return tts(known.input, model);
    case 'stt':
      return stt(known.input, known.audioMs, terms);
  }
}

function chat(
  input: ChatInput,
  { textBytes, attachments }: PromptSize,
  { model, terms }: { model: Model; terms: PlanTerms },
): Omit<Worst, 'hold'> {
  const named = input.max_completion_tokens ?? input.max_tokens ?? null;
  const field = input.max_completion_tokens == null ? 'input.max_tokens' : 'input.max_completion_tokens';
  const perChoice = limited(named, model.data.default_output_tokens ?? 4096, {
    caps: capsFor(terms, 'max_output_tokens', model.tags),
    field,
  });
  const n = limited(input.n ?? null, 1, {
    caps: capsFor(terms, 'image_count', model.tags),
    field: 'input.n',
  });
  if (attachments > 0) {
    limited(attachments, 0, {
      caps: capsFor(terms, 'image_attachment', model.tags),
      field: 'input.messages',
    });
    if (model.data.attachment_tokens === undefined) {
      throw new AppError('input_unsupported', {
        message: `${model.id} takes no attachments. Send text only, or another model.`,
        details: { field: 'input.messages' },
      });
    }
  }
  const inputTokens = textBytes + attachments * (model.data.attachment_tokens ?? 0);
  const length = model.data.context_length;
  if (length !== undefined && inputTokens > length * (model.data.bytes_per_token ?? 4)) {
    throw new AppError('input_too_large', { details: { max_tokens: length, context_length: length } });
  }
  return {
    bounds: { max_output_tokens: perChoice, n },
    usage: [
      { name: 'token', measure: 'input', quantity: inputTokens },
      { name: 'token', measure: 'output', quantity: perChoice * n },
    ],
  };
}

function image(input: ImageInput, model: Model, terms: PlanTerms): Bound {
  const n = limited(input.n ?? null, 1, {
    caps: capsFor(terms, 'image_count', model.tags),
    field: 'input.n',
  });
  const most = model.data.max_images ?? 10;
  if (n > most) throw outOfRange('input.n', `at most ${most}`, n);
  const size = imageSize(input.size, model, terms);
  return { bounds: { n, size }, work: { kind: 'image', images: n } };
}

function imageSize(named: string | undefined, model: Model, terms: PlanTerms): string {
  const caps = capsFor(terms, 'image_size', model.tags);
  const size = named ?? defaultSize(model, caps);
  const sides = parseSize(size);
  const { min_side: min = 64, max_side: max = 1024 } = model.data;
  if (!sides || Math.min(sides.width, sides.height) < min || Math.max(sides.width, sides.height) > max) {
    throw outOfRange('input.size', `<width>x<height>, each side ${min} to ${max}`, size);
  }
  for (const cap of caps) {
    const most = parseSize(cap.max);
    if (most && (sides.width > most.width || sides.height > most.height))
      throw beyond(cap, 'input.size', size);
  }
  return size;
}

/** The model's own size, or as much of each side as every cap allows. */
function defaultSize({ data }: Model, caps: readonly Extract<Cap, { cap: 'image_size' }>[]): string {
  const own = data.default_size ?? '512x512';
  const sizes = [own, ...caps.map((cap) => cap.max)].map(parseSize).filter((size) => size !== null);
  const side = (name: 'width' | 'height') => Math.min(...sizes.map((size) => size[name]));
  return `${side('width')}x${side('height')}`;
}

function tts(input: TtsInput, model: Model): Bound {
  const characters = countCharacters(input.input);
  const most = model.data.max_characters ?? 4096;
  if (characters > most) {
    throw new AppError('input_too_long', {
      message: `The text has ${characters} characters; ${model.id} speaks at most ${most}. Send it in parts.`,
      details: { field: 'input.input', max_characters: most },
    });
  }
  return { bounds: { characters }, work: { kind: 'tts', characters } };
}

/** Without an array of them: the text may have millions. */
function countCharacters(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at += text.codePointAt(at)! > 0xffff ? 2 : 1) count++;
  return count;
}

function stt(input: SttInput, audioMs: number | null, terms: PlanTerms): Bound {
  const named = input.max_seconds === undefined ? null : input.max_seconds * 1000;
  if (named !== null && audioMs !== null && audioMs > named) {
    throw new AppError('input_too_long', {
      message: `The audio lasts ${audioMs} ms, longer than input.max_seconds allows.`,
      details: { field: 'input.max_seconds', audio_ms: audioMs },
    });
  }
  if (named !== null && named > terms.maxAudioMs) {
    const max = Math.floor(terms.maxAudioMs / 1000);
    throw new AppError('plan_cap_exceeded', {
      message: `Your plan's limit [plan.rule:max_audio_seconds] is ${max} for input.max_seconds. Ask for less, or move to a larger plan.`,
      details: { rule: 'max_audio_seconds', field: 'input.max_seconds', max, asked: input.max_seconds },
    });
  }
  const bound = audioMs ?? named ?? terms.maxAudioMs;
  if (bound > terms.maxAudioMs) {
    throw new AppError('input_too_long', {
      details: { field: 'input.artifact', audio_ms: bound, max_ms: terms.maxAudioMs },
    });
  }
  return { bounds: { audio_ms: bound }, work: { kind: 'stt', audioMs: bound } };
}

/** The bound of one quantity: what the client names if every cap allows it, else the smaller of default and caps. */
function limited(
  named: number | null,
  fallback: number,
  { caps, field }: { caps: readonly Extract<Cap, { max: number }>[]; field: string },
): number {
  if (named === null) return Math.min(fallback, ...caps.map((cap) => cap.max));
  for (const cap of caps) if (named > cap.max) throw beyond(cap, field, named);
  return named;
}

function beyond(cap: Cap, field: string, asked: unknown): AppError {
  const rule = cap.cap === 'image_cost' ? 'request_cost' : cap.cap;
  return new AppError('plan_cap_exceeded', {
    message: `Your plan's limit [plan.rule:${rule}] is ${cap.max} for ${field}. Ask for less, or move to a larger plan.`,
    details: { rule, field, max: cap.max, asked: typeof asked === 'bigint' ? Number(asked) : asked },
  });
}

function outOfRange(field: string, expected: string, received: unknown): AppError {
  return invalidRequest({ path: field, message: `must be ${expected}`, expected, received });
}

/**
 * The largest bound that so many credits would carry, in the words of `bounds`; null where no bound of the kind can be
 * lowered far enough.
 */
export function fittingBound(
  { bounds, usage }: Pick<Worst, 'bounds' | 'usage'>,
  { price }: Pick<Model, 'price'>,
  available: bigint,
): Bounds | null {
  const chat = bounds.max_output_tokens !== undefined;
  const n = bounds.n ?? (chat ? 1 : 0);
  const grows = n > 0 ? usage.find((line) => line.measure === 'output') : undefined;
  if (!price || !grows) return null;
  // In millionths of a credit and not by priceOf, which rounds: what is left is for the bound, to the last of it.
  const rate = (line: UsageLine): bigint =>
    price.lines.find(({ name, measure }) => name === line.name && measure === line.measure)
      ?.creditsPerMillion ?? 0n;
  const fixed = usage
    .filter((line) => line !== grows)
    .reduce((sum, line) => sum + BigInt(line.quantity) * rate(line), 0n);
  // Of a chat, a token in each of its choices; of images, one of them, whatever it is sold by.
  const each = rate(grows) * BigInt(chat ? n : grows.quantity / n);
  const rest = available * 1_000_000n - fixed;
  if (each === 0n || rest < each) return null;
  return chat ? { max_output_tokens: Number(rest / each) } : { n: Number(rest / each) };
}
