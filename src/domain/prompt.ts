// How much a chat model reads and says, counted without the provider's word (contract 0). Sizes are taken from the JSON as
// the client wrote it: written again by us it may be longer, and what is taken off for attachments must have been there.
import { rawItems, rawMember } from './json-members.ts';

export interface PromptSize {
  /** UTF-8 bytes of messages, tools and response_format, less the attachments. */
  textBytes: number;
  /** Parts of messages that are not text; each has the model's stated price. */
  attachments: number;
}

const TEXT = new Set(['text', 'refusal', 'input_text', 'output_text']);
/** Parts that are priced by the piece alone. One that nobody here knows is priced by the piece and by its bytes. */
const PIECES = new Set([
  'image_url',
  'input_image',
  'input_audio',
  'audio_url',
  'file',
  'input_file',
  'video_url',
]);

/** @param inputJson the `input` of a chat, which passed its schema */
export function promptSize(inputJson: string): PromptSize {
  let textBytes = 0;
  let attachments = 0;
  for (const name of ['messages', 'tools', 'response_format'])
    textBytes += Buffer.byteLength(rawMember(inputJson, name) ?? '');
  for (const message of rawItems(rawMember(inputJson, 'messages') ?? '[]')) {
    const content = rawMember(message, 'content');
    if (!content?.startsWith('[')) continue;
    for (const part of rawItems(content)) {
      const type = typeOf(part);
      if (TEXT.has(type)) continue;
      attachments += 1;
      if (PIECES.has(type)) textBytes -= Buffer.byteLength(part);
    }
  }
  return { textBytes, attachments };
}

function typeOf(part: string): string {
  const type = part.startsWith('{') ? rawMember(part, 'type') : null;
  return type?.startsWith('"') ? (JSON.parse(type) as string) : '';
}

/** Members of a message that say what it is and not what was said. */
const NAMES = new Set(['role', 'id', 'type', 'index', 'object', 'format']);

/**
 * UTF-8 bytes of every text in a message or a delta: content, reasoning, refusals, the arguments of tool calls, and what
 * a vendor may think of next. All of it is output that somebody could read.
 */
export function spokenBytes(said: unknown): number {
  if (typeof said === 'string') return Buffer.byteLength(said);
  if (typeof said !== 'object' || said === null) return 0;
  if (Array.isArray(said)) return said.reduce((sum: number, item: unknown) => sum + spokenBytes(item), 0);
  return Object.entries(said).reduce(
    (sum, [name, value]) => (NAMES.has(name) ? sum : sum + spokenBytes(value)),
    0,
  );
}
