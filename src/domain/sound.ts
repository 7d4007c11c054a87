// What kind of sound some bytes are: by their own beginning, whatever they are called.

/** Marks that nothing else begins with, at these places. */
const MARKS: readonly (readonly [contentType: string, at: number, mark: string])[] = [
  ['audio/wav', 8, 'WAVE'],
  ['audio/flac', 0, 'fLaC'],
  ['audio/ogg', 0, 'OggS'],
  ['audio/mpeg', 0, 'ID3'],
  ['audio/mp4', 4, 'ftyp'],
  ['audio/webm', 0, '\x1a\x45\xdf\xa3'],
];

/** What else than sound and film is in files of that form: HEIC and AVIF, pictures of both. */
const PICTURE_BRAND = /^(hei[cfsmx]|hev[cmsx]|mif1|msf1|avi[fs])$/;

/** By a mark that cannot be there by chance; null: none. */
export function markedSound(bytes: Buffer): string | null {
  const found = MARKS.find(
    ([, at, mark]) =>
      bytes.toString('latin1', at, at + mark.length) === mark && bytes.length > at + mark.length,
  );
  if (found?.[0] === 'audio/mp4' && PICTURE_BRAND.test(bytes.toString('latin1', 8, 12))) return null;
  if (found?.[0] === 'audio/wav' && bytes.toString('latin1', 0, 4) !== 'RIFF') return null;
  return found?.[0] ?? null;
}

/** Likewise, or by the first frame of a bare stream of MP3 or AAC, which bare PCM may look like. */
export function soundType(bytes: Buffer): string | null {
  const marked = markedSound(bytes);
  if (marked !== null) return marked;
  if (bytes.length < 4 || bytes[0] !== 0xff) return null;
  const [, second = 0, third = 0] = bytes;
  // Eleven bits of sync, then version, layer and protection; AAC has the layer that MPEG audio has not.
  if ((second & 0xf6) === 0xf0) return (third & 0x3c) >> 2 < 13 ? 'audio/aac' : null;
  // So does text in UTF-16, which would be MPEG's layer I with a checksum: nobody has that.
  if (second === 0xfe) return null;
  const isMpeg = (second & 0xe0) === 0xe0 && (second & 0x18) !== 0x08 && (second & 0x06) !== 0;
  const isRate = (third & 0xf0) !== 0xf0 && (third & 0x0c) !== 0x0c;
  return isMpeg && isRate ? 'audio/mpeg' : null;
}

export const SOUND_HEAD_BYTES = 16;

/** Forms that sound travels in, and that nobody measures here. */
const OTHERS = /^(#!AMR|caff|\.snd|FORM[^]{4}AIF[FC])/;

/** Whether a file's first bytes are those of a form that sound travels in: not whether it can be heard. */
export const beginsLikeSound = (head: Buffer): boolean =>
  soundType(head) !== null || OTHERS.test(head.toString('latin1', 0, SOUND_HEAD_BYTES));
