// What an attempt used, where the vendor gave no word of it (contract 0).
import type { Context } from '../context.ts';
import type { Bounds, Kind, UsageLine } from '../domain/job.ts';
import { promptSize, spokenBytes } from '../domain/prompt.ts';
import type { Output } from '../providers/provider.ts';
import { deltasOf } from '../store/deltas.ts';

export interface Counted {
  model: string;
  /** JSON text of the job's `input`. */
  input: string;
  bounds: Bounds;
}

/** Of an answer that came whole. */
export function countOutput(ctx: Context, call: Counted, output: Output): UsageLine[] {
  switch (output.kind) {
    case 'chat': {
      const { choices } = JSON.parse(output.completion) as { choices: { message?: unknown }[] };
      return countTokens(
        ctx,
        call,
        choices.reduce((sum, { message }) => sum + spokenBytes(message), 0),
      );
    }
    case 'image':
      return [{ name: 'image', measure: 'output', quantity: output.images.length }];
    case 'tts':
      return [{ name: 'character', measure: 'input', quantity: call.bounds.characters ?? 0 }];
    case 'stt':
      return [
        {
          name: 'millisecond',
          measure: 'input',
          quantity: Math.ceil(output.durationMs ?? call.bounds.audio_ms ?? 0),
        },
      ];
  }
}

/**
 * Of a call that the vendor's content policy refused, where its job was admitted as one that pays for that: what was asked,
 * since refused work is billed as work, and of a chat what it said before.
 */
export async function countRefused(
  ctx: Context,
  call: Counted & { kind: Kind },
  attempt: { accountId: string; jobId: string; attempt: number },
): Promise<UsageLine[] | null> {
  if (!call.bounds.charge_refused) return null;
  const { n = 1, characters = 0, audio_ms: audioMs = 0 } = call.bounds;
  switch (call.kind) {
    case 'chat':
      return (await countStored(ctx, call, attempt)).usage;
    case 'image':
      return [{ name: 'image', measure: 'output', quantity: n }];
    case 'tts':
      return [{ name: 'character', measure: 'input', quantity: characters }];
    case 'stt':
      return [{ name: 'millisecond', measure: 'input', quantity: audioMs }];
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
