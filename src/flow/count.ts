// What an attempt used, where the vendor gave no word of it (contract 0).
import type { Context } from '../context.ts';
import type { Bounds, Kind, UsageLine } from '../domain/job.ts';
import { promptSize, spokenBytes } from '../domain/prompt.ts';
import { tokensOf, unitOf, type Work } from '../domain/work.ts';
import type { OpenedArtifact, Output } from '../providers/provider.ts';
import { deltasOf } from '../store/deltas.ts';

export interface Counted {
  model: string;
  /** JSON text of the job's `input`. */
  input: string;
  bounds: Bounds;
}

/**
 * What an answer that came whole used: what the vendor says, and what we count of the units that it does not speak of, so
 * that a model may be sold by another unit than its vendor bills.
 */
export function usageOf(
  ctx: Context,
  call: Counted,
  { output, usage }: { output: Output; usage: UsageLine[] | null },
): UsageLine[] {
  if (output.kind === 'chat') return usage ?? countChat(ctx, call, output.completion);
  const told = usage ?? [];
  const silent = ({ name, measure }: UsageLine): boolean =>
    !told.some((line) => line.name === name && line.measure === measure);
  return [...told, ...countMade(ctx, call, madeOf(output, call.bounds)).filter(silent)];
}

function countChat(ctx: Context, call: Counted, completion: string): UsageLine[] {
  const { choices } = JSON.parse(completion) as { choices: { message?: unknown }[] };
  const bytes = choices.reduce((sum, { message }) => sum + spokenBytes(message), 0);
  return countTokens(ctx, call, bytes);
}

/** What was made of what was asked: fewer images, shorter audio. */
function madeOf(output: Exclude<Output, { kind: 'chat' }>, { characters = 0, audio_ms = 0 }: Bounds): Work {
  switch (output.kind) {
    case 'image':
      return { kind: 'image', images: output.images.length };
    case 'tts':
      return { kind: 'tts', characters };
    case 'stt':
      return { kind: 'stt', audioMs: Math.ceil(output.durationMs ?? audio_ms) };
  }
}

function countMade(ctx: Context, { model, input }: Counted, work: Work): UsageLine[] {
  const { data = {} } = ctx.catalogue().models.get(model) ?? {};
  const tokens = tokensOf(work, JSON.parse(input) as object, {
    data,
    bytesPerToken: data.bytes_per_token ?? 4,
  });
  return [unitOf(work), ...(tokens ?? [])];
}

/**
 * Of a call that the vendor's content policy refused, where its job was admitted as one that pays for that: what was asked,
 * since refused work is billed as work, and of a chat what it said before.
 */
export async function countRefused(
  ctx: Context,
  call: Counted & { kind: Kind; artifact: Pick<OpenedArtifact, 'durationMs'> | null },
  attempt: { accountId: string; jobId: string; attempt: number },
): Promise<UsageLine[] | null> {
  if (!call.bounds.charge_refused) return null;
  const { n = 1, characters = 0, audio_ms: mostMs = 0 } = call.bounds;
  switch (call.kind) {
    case 'chat':
      return (await countStored(ctx, call, attempt)).usage;
    case 'image':
      return countMade(ctx, call, { kind: 'image', images: n });
    case 'tts':
      return countMade(ctx, call, { kind: 'tts', characters });
    case 'stt':
      // Of audio by URL the bound is the longest that it might have been.
      return countMade(ctx, call, { kind: 'stt', audioMs: call.artifact?.durationMs ?? mostMs });
  }
}

export interface SoFar {
  /** Of the first choice. */
  text: string;
  /** How many deltas were stored. */
  deltas: number;
  usage: UsageLine[];
}

/** Of a chat that ended before its time: its prompt, and all that its subscribers could read. */
export async function countStored(
  ctx: Context,
  call: Counted,
  attempt: { accountId: string; jobId: string; attempt: number },
): Promise<SoFar> {
  const steps = await deltasOf(ctx.flow, attempt);
  const deltas = steps.flatMap(
    (step) => JSON.parse(step.deltasJson) as { index?: number; content?: unknown }[],
  );
  const text = deltas
    .map(({ index = 0, content }) => (index === 0 && typeof content === 'string' ? content : ''))
    .join('');
  const bytes = deltas.reduce((sum, delta) => sum + spokenBytes(delta), 0);
  return { text, deltas: deltas.length, usage: countTokens(ctx, call, bytes) };
}

function countTokens(ctx: Context, { model, input }: Counted, outputBytes: number): UsageLine[] {
  const { bytes_per_token: bytes = 4, attachment_tokens: attachment = 0 } =
    ctx.catalogue().models.get(model)?.data ?? {};
  const { textBytes, attachments } = promptSize(input);
  return [
    {
      name: 'token',
      measure: 'input',
      quantity: Math.ceil(textBytes / bytes) + Math.ceil(attachments * attachment),
    },
    { name: 'token', measure: 'output', quantity: Math.ceil(outputBytes / bytes) },
  ];
}

/** JSON text of the `output` of a chat that ended before its time. */
export function partialChat(text: string): string {
  return `{"text":${JSON.stringify(text)},"completion":null}`;
}
