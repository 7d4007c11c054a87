import type { Kind } from './job.ts';
import type { PriceLine } from './pricing.ts';

/** What a model's id, or an alias, may be: a regular expression. */
export const MODEL_ID = '^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}$';

/** What bounds and measures a model's calls. Data of the model's row, so snake_case as operators write it. */
export interface ModelData {
  /** chat: the output bound where neither the client nor the plan names a smaller one. */
  default_output_tokens?: number;
  /** chat: the most tokens of input and output together. */
  context_length?: number;
  /** chat: bytes of text that count as one token where the vendor gave no word. */
  bytes_per_token?: number;
  /** chat: input tokens one attachment may cost. Absent: the model takes no attachments. */
  attachment_tokens?: number;
  /** image: sizes and number. */
  default_size?: string;
  min_side?: number;
  max_side?: number;
  max_images?: number;
  /** image sold by tokens: the most output tokens that one image may cost. */
  image_tokens?: number;
  /** tts: the longest text. */
  max_characters?: number;
  /** tts sold by tokens: the most output tokens for one character at the usual speed. */
  tokens_per_character?: number;
  /** stt sold by tokens: the most tokens for one second of audio. */
  input_tokens_per_second?: number;
  output_tokens_per_second?: number;
  /** The vendor bills what its content policy refuses, and the account pays for it as for a result. */
  charge_refused?: boolean;
}

/** What of an upstream differs from others of its dialect. Data of the route's row. */
export interface RouteData {
  /** What is done about fields of an input that are neither usual nor named in `fields`; by default they are refused. */
  unknown_fields?: 'pass' | 'refuse';
  /** Fields beyond the usual ones that the upstream takes and whose price is known. */
  fields?: string[];
  /** Fields that clients may give, or we would, and this upstream does not take: they are not sent. */
  leave_out?: string[];
  /** stt: the form of answer that is asked for. Absent: what the upstream model's name suggests. */
  transcript_format?: TranscriptFormat;
  /** tts: samples a second of the upstream's bare PCM. */
  pcm_rate?: number;
  /** tts: the voice where the client names none. */
  voice?: string;
  /** replicate: what the upstream calls a field of ours; null: it has none, and nothing is sent. */
  input_map?: Record<string, string | null>;
  /** replicate: further fields of each input, as they are. */
  input?: Record<string, string | number | boolean>;
  /** replicate: hosts, with their subdomains, from which outputs are fetched over https; the API's own is always one. */
  output_hosts?: string[];
}

export const TRANSCRIPT_FORMATS = ['json', 'text', 'srt', 'vtt', 'verbose_json'] as const;
export type TranscriptFormat = (typeof TRANSCRIPT_FORMATS)[number];

export interface ModelRoute {
  id: string;
  provider: string;
  upstreamModel: string;
  enabled: boolean;
  /** The operator's cost at that vendor. */
  cost: PriceLine[];
  data: RouteData;
}

export interface Model {
  id: string;
  kind: Kind;
  name: string;
  aliases: string[];
  tags: string[];
  enabled: boolean;
  data: ModelData;
  createdAt: Date;
  deprecatedAt: Date | null;
  sunsetAt: Date | null;
  replacement: string | null;
  /** The price in force; null: unknown, and then nothing is sold. */
  price: { id: string; lines: PriceLine[] } | null;
  /** In the order they are tried. */
  routes: ModelRoute[];
}

/** `512x512` as numbers, or null if it is no size. */
export function parseSize(size: string): { width: number; height: number } | null {
  const match = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(size);
  return match ? { width: Number(match[1]), height: Number(match[2]) } : null;
}
