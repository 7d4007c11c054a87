// What images, speech and transcriptions amount to, in each unit they may be sold by.
import type { UsageLine } from './job.ts';
import type { ModelData } from './model.ts';

/** An amount of work: asked at most, or done. */
export type Work =
  | { kind: 'image'; images: number }
  | { kind: 'tts'; characters: number }
  | { kind: 'stt'; audioMs: number };

/** In its kind's own unit. */
export function unitOf(work: Work): UsageLine {
  switch (work.kind) {
    case 'image':
      return { name: 'image', measure: 'output', quantity: work.images };
    case 'tts':
      return { name: 'character', measure: 'input', quantity: work.characters };
    case 'stt':
      return { name: 'millisecond', measure: 'input', quantity: work.audioMs };
  }
}

/**
 * In tokens, by the model's data; null where they do not say how many it may be.
 * @param input the job's
 * @param bytesPerToken of its text; 1 for the worst case
 */
export function tokensOf(
  work: Work,
  input: object,
  { data, bytesPerToken }: { data: ModelData; bytesPerToken: number },
): UsageLine[] | null {
  const tokens = rawTokens(work, input as Texts, data);
  if (!tokens) return null;
  const { text, other, output } = tokens;
  return [
    { name: 'token', measure: 'input', quantity: Math.ceil(text / bytesPerToken) + Math.ceil(other) },
    { name: 'token', measure: 'output', quantity: Math.ceil(output) },
  ];
}

interface Texts {
  input?: string;
  instructions?: string;
  prompt?: string;
  artifact?: string;
  speed?: number;
}

/** The bytes of text that go in, the tokens that go in beside them, and those that come out. */
function rawTokens(
  work: Work,
  { input = '', instructions = '', prompt = '', artifact, speed = 1 }: Texts,
  data: ModelData,
): { text: number; other: number; output: number } | null {
  switch (work.kind) {
    case 'image': {
      const { image_tokens: each, attachment_tokens: edited } = data;
      if (each === undefined || (artifact !== undefined && edited === undefined)) return null;
      const other = artifact === undefined ? 0 : (edited ?? 0);
      return { text: Buffer.byteLength(prompt), other, output: work.images * each };
    }
    case 'tts': {
      if (data.tokens_per_character === undefined) return null;
      // What is spoken slowly takes longer, and more tokens.
      const output = (work.characters * data.tokens_per_character) / Math.min(1, speed);
      return { text: Buffer.byteLength(input) + Buffer.byteLength(instructions), other: 0, output };
    }
    case 'stt': {
      const { input_tokens_per_second: heard, output_tokens_per_second: written } = data;
      if (heard === undefined || written === undefined) return null;
      const seconds = work.audioMs / 1000;
      return { text: Buffer.byteLength(prompt), other: seconds * heard, output: seconds * written };
    }
  }
}
