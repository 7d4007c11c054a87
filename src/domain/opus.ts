// How long one packet of Opus sounds: its first bytes say so, and no decoder hears anything else.

/** Of speech and of both kinds; above these, of music. */
const SLOW_MS = [10, 20, 40, 60, 10, 20, 40, 60, 10, 20, 40, 60, 10, 20, 10, 20];
const MUSIC_MS = [2.5, 5, 10, 20];

/** @param packet two bytes of it, if it has so many. @returns ms */
export function opusMs(packet: Buffer): number {
  const [first, second = 0] = packet;
  if (first === undefined) return 0;
  const code = first & 3;
  const frames = code === 0 ? 1 : code === 3 ? second & 0x3f : 2;
  const config = first >> 3;
  return (SLOW_MS[config] ?? (MUSIC_MS[config & 3] as number)) * frames;
}
