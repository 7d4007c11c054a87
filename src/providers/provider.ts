// The contract between a worker and the code that speaks to a vendor or an engine.
// A provider never throws for a fault of the vendor: it answers with a value.
import type { Readable } from 'node:stream';
import type { Bounds, JobErrorCode, Kind, UsageLine } from '../domain/job.ts';
import type { RouteData } from '../domain/model.ts';

/** Where a call goes. Rows of the `routes` table, with the key already opened. */
export interface Route {
  id: string;
  provider: string;
  /** What the vendor calls the model. */
  upstreamModel: string;
  /** Root of the vendor's API, without a trailing slash, for example `https://api.example.com/v1`. */
  baseUrl: string;
  apiKey: string | null;
  /** How this upstream differs from others of its dialect. */
  data: RouteData;
  /** Its cost is by the millisecond of the vendor's work: where the vendor tells how long that took, it is usage. */
  timed: boolean;
}

/** The bytes an input refers to, or holds: audio to hear, an image to edit. */
export interface OpenedArtifact {
  contentType: string;
  bytes: number;
  /** How long it sounds, as measured by us; null: not known, or no sound. */
  durationMs: number | null;
  /** May be called more than once. Rejects, or its stream fails, where storage does not give the bytes. */
  open(): Promise<Readable>;
}

/** Names one attempt; doubles as the idempotency key we give to vendors (`<jobId>-<attempt>`). */
export interface CallKey {
  accountId: string;
  jobId: string;
  /** Counts from 1, up by one at every claim. */
  attempt: number;
}

/** An attempt by all the names that its work may have at the vendor. */
export interface WorkKey extends CallKey {
  /** What the vendor calls it; null: not known, or it has no name. */
  remoteId: string | null;
  /** Where the vendor was told to call; the same for an attempt whenever it is asked for. Null: nowhere. */
  callbackUrl: string | null;
}

export interface Call extends CallKey {
  kind: Kind;
  /** JSON text of the job's `input`: the bytes that the client sent. */
  input: string;
  bounds: Bounds;
  /** stt: the audio to hear. image: the one to edit, null where one is to be made. */
  artifact: OpenedArtifact | null;
  /** Once aborted: close the socket at once and answer `stopped`. */
  signal: AbortSignal;
  /** chat streams: one `choices[].delta` of the vendor, as JSON text, in order of arrival. */
  onDelta(delta: string): void;
  /** The vendor named the work (submit, then poll). Awaited before anything else is sent. */
  onRemoteId(remoteId: string): Promise<void>;
  /** Where the vendor may tell that the work moved on; null: the platform has no address that vendors reach. */
  callbackUrl: string | null;
  /** Between two polls: waits so many ms, or until the vendor called back, or until the signal. Never rejects. */
  pause(ms: number): Promise<void>;
  /** What the operator should hear at once: the vendor says what nobody here knows. No prompt, output or key. */
  tell(note: string): void;
}

/** What is known about the call from the vendor's side; kept with the attempt and shown by `explain`. */
export interface Evidence {
  /** Whether any byte of the request may have reached the vendor. */
  sent: boolean;
  http_status: number | null;
  provider_request_id: string | null;
  first_byte_ms: number | null;
  /** Free words for the operator: never a prompt, an output, a key or a URL with a query. */
  note: string | null;
}

export interface ImageOutput {
  bytes: Buffer;
  contentType: string;
  width: number;
  height: number;
  seed: number | null;
  revisedPrompt: string | null;
}

export type Output =
  | { kind: 'chat'; text: string; /** The vendor's chat.completion as JSON text. */ completion: string }
  | { kind: 'image'; images: ImageOutput[] }
  | {
      kind: 'tts';
      bytes: Buffer;
      contentType: string;
      /** Null where the bytes do not tell. */
      durationMs: number | null;
      sampleRate: number | null;
    }
  | {
      kind: 'stt';
      text: string;
      language: string | null;
      /** Null where neither the vendor nor the audio tells. */
      durationMs: number | null;
      segments: { start_ms: number; end_ms: number; text: string }[];
    };

/**
 * What one call came to.
 * - `succeeded`: `usage` null means that the vendor named none; the worker then counts it.
 * - `failed`: `retryable` by contract 19. `retryAfterMs` when the vendor asked for a pause.
 * - `ambiguous`: the request was sent and its answer was lost; the vendor may have done and billed the work.
 * - `stopped`: our own signal ended it. `text` is what had come by then (chat), `usage` what the vendor reported, if it did.
 * - `oursToMend` in a failure: the vendor refuses the platform itself (its key, its bill, its rights). Final, though the request was right.
 * - `over` in a failure: the vendor says that the work has ended so. Whoever asks for it again hears the same, whatever else is done.
 * - `billed` in a failure: usage that the vendor bills all the same (the operator's waste), if it is known.
 */
export type CallResult =
  | { type: 'succeeded'; output: Output; usage: UsageLine[] | null; evidence: Evidence }
  | {
      type: 'failed';
      code: JobErrorCode;
      retryable: boolean;
      message: string;
      retryAfterMs: number | null;
      oursToMend?: boolean;
      over?: boolean;
      billed: UsageLine[] | null;
      evidence: Evidence;
    }
  | { type: 'ambiguous'; message: string; evidence: Evidence }
  | { type: 'stopped'; text: string; usage: UsageLine[] | null; evidence: Evidence };

export interface Provider {
  readonly name: string;
  readonly kinds: readonly Kind[];
  call(route: Route, call: Call): Promise<CallResult>;
  /** Ask the vendor to end work that goes on after the socket closes. True only when it confirms that nothing will be billed. */
  stop?(route: Route, key: WorkKey): Promise<boolean>;
  /**
   * What became of an earlier call of the job whose answer never arrived; work that goes on is waited for. Null: the vendor knows
   * of none, or will not say before it is done.
   */
  lookup?(
    route: Route,
    call: Call,
    earlier: Pick<WorkKey, 'attempt' | 'remoteId' | 'callbackUrl'>,
  ): Promise<CallResult | null>;
  close(): Promise<void>;
}
