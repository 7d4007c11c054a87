// What a subscriber is told, whatever the channel.

/** One message. `id` is the cursor after it; notes that are only true for now have none. */
export interface Frame {
  id: string | null;
  event: string;
  /** JSON text. */
  data: string;
}

/** Batches are shared between subscribers who hear the same: not to be changed. */
export type Batch = readonly Frame[];

/** How long a stream whose reader is there waits for a database that is not. */
export const PATIENCE_MS = 5 * 60_000;

/** Where nothing has happened for a while, nobody looks often. */
export const LOOK_RARELY_MS = 5_000;
