// How far somebody has heard a stream, as the `id` of its frames says it and `Last-Event-ID` says it back (contract 13).

/** After event `sequence`; on a job's stream also: of attempt `attempt`, `offset` deltas have been heard. */
export interface Cursor {
  sequence: bigint;
  attempt: number;
  offset: number;
}

export const START: Readonly<Cursor> = { sequence: 0n, attempt: 0, offset: 0 };

/** `1042` or `1041.2.312`; null if it is neither. */
export function parseCursor(text: string): Cursor | null {
  const match = /^(\d{1,18})(?:\.(\d{1,9})\.(\d{1,9}))?$/.exec(text);
  if (!match) return null;
  return { sequence: BigInt(match[1] ?? 0), attempt: Number(match[2] ?? 0), offset: Number(match[3] ?? 0) };
}

export function renderCursor({ sequence, attempt, offset }: Cursor): string {
  return attempt === 0 ? String(sequence) : `${sequence}.${attempt}.${offset}`;
}
