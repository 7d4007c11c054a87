// A folder of a call's own: nobody else may look into it, and it is gone after the call. What a process that died left
// behind is removed by those that come after, once it is older than any call can be.
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** The longest call takes half an hour. */
const OLD_MS = 2 * 3_600_000;

export interface Room {
  folder: string;
  leave(): Promise<void>;
}

/** @param base the folder of such folders, made where it is missing */
export async function takeRoom(base: string): Promise<Room> {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(base, 'call-'));
  return { folder, leave: () => rm(folder, { recursive: true, force: true, maxRetries: 3 }) };
}

/** Removes rooms whose process must have died. Never throws: what cannot be removed is tried again another time. */
export function sweepRooms(base: string, now = Date.now()): void {
  for (const name of readdirOrNone(base)) {
    if (!name.startsWith('call-')) continue;
    const folder = join(base, name);
    try {
      if (now - statSync(folder).mtimeMs > OLD_MS) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Another process was quicker, or it belongs to another user.
    }
  }
}

function readdirOrNone(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
