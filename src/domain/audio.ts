/** How files of sound begin, whatever they are called: [offset, bytes as latin1]. */
const BEGINNINGS: readonly (readonly [number, string])[] = [
  [0, 'ID3'],
  [0, 'OggS'],
  [0, 'fLaC'],
  [0, '#!AMR'],
  [0, 'caff'],
  [0, '.snd'],
  [4, 'ftyp'],
  // Matroska, which is WebM's form.
  [0, '\x1a\x45\xdf\xa3'],
];

export const AUDIO_HEAD_BYTES = 16;

/** Whether a file's first bytes are those of a form that sound travels in: not whether it can be heard. */
export function beginsLikeAudio(head: Buffer): boolean {
  const text = head.toString('latin1');
  if (/^RIFF....WAVE/s.test(text) || /^FORM....AIF[FC]/s.test(text)) return true;
  // A frame of MPEG audio, with or without ADTS: eleven set bits.
  if (
    head.length >= 2 &&
    head[0] === 0xff &&
    (head[1]! & 0xe0) === 0xe0 &&
    head[1] !== 0xff &&
    head[1] !== 0xfe
  )
    return true;
  return BEGINNINGS.some(([at, bytes]) => text.startsWith(bytes, at));
}
