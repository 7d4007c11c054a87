// The words of a job. Everything else in the code base speaks them; this file imports nothing.

export const KINDS = ['chat', 'image', 'tts', 'stt'] as const;
export type Kind = (typeof KINDS)[number];

export const STATUSES = ['queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'] as const;
export type Status = (typeof STATUSES)[number];
export type FinalStatus = Exclude<Status, 'queued' | 'running'>;

/** The published state graph: what may follow what. The database refuses the rest (see the migration). */
export const TRANSITIONS: Record<Status, readonly Status[]> = {
  queued: ['running', 'canceled', 'expired'],
  running: ['queued', 'succeeded', 'failed', 'canceled', 'expired'],
  succeeded: [],
  failed: [],
  canceled: [],
  expired: [],
};

export const isFinal = (status: Status): status is FinalStatus => TRANSITIONS[status].length === 0;

/** A job's place among its own account's jobs. Stored as its index, so that 0 starts first. */
export const PRIORITIES = ['high', 'normal', 'low'] as const;

/** Why a job failed, as `job.error.code` shows it (contract 9, last row). */
export const JOB_ERROR_CODES = [
  'provider_rejected',
  'provider_unavailable',
  'provider_timeout',
  'provider_malformed',
  'provider_rate_limited',
  'content_refused',
  'attempts_exhausted',
  'output_too_large',
  'deadline_exceeded',
  'storage_unavailable',
  'input_unreachable',
  'input_unsupported',
  'input_too_long',
  'internal',
] as const;
export type JobErrorCode = (typeof JOB_ERROR_CODES)[number];

/** What bounds a job's cost, decided at admission and shown as `bounds`; what of it the vendor understands is sent upstream. */
export interface Bounds {
  /** chat: the most tokens each of the `n` choices may have. */
  max_output_tokens?: number;
  /** chat and image: how many choices or images. */
  n?: number;
  /** image: `<width>x<height>`. */
  size?: string;
  /** tts: characters of input that will be spoken. */
  characters?: number;
  /** stt: the longest audio that will be heard, in milliseconds. */
  audio_ms?: number;
  /** What the content policy refuses is charged: the model's data said so when the job was admitted. */
  charge_refused?: true;
}

/** One measured quantity. Quantities are whole numbers, so that prices multiply exactly. */
export interface UsageLine {
  name: 'token' | 'image' | 'character' | 'millisecond';
  measure: 'input' | 'output';
  quantity: number;
}

/** What the queue is told: no more than what it takes to claim. */
export interface Bell {
  kind: Kind;
  accountId: string;
  jobId: string;
  /** The job's epoch when the bell was rung; a claim of a later one is void. */
  epoch: number;
  /** The slot, which is the message's priority. */
  slot: number;
  /**
   * Of a job that was rung before. `moved`: it has a lower slot now, and its waiting message should be heard at that one.
   * `late`: nobody has claimed it for long; it is rung under another name, since a dead consumer may hold the first.
   */
  repeat?: 'moved' | 'late';
}
