// What kind of sound some bytes are: by their own beginning, whatever they are called.

/** Speech at 4,000 bits a second is hardly understood, and nothing that vendors hear is packed closer. */
const FEWEST_BYTES_A_MS = 0.5;

/** Whether sound whose length its bytes do not tell may last longer. */
export const mayOutlast = (ms: number, bytes: number): boolean => bytes / FEWEST_BYTES_A_MS > ms;

/** Why a client's bound is refused that nobody could keep such sound to. */
export const UNMEASURED =
  'How long the audio lasts cannot be told from its bytes, and so it cannot be kept to input.max_seconds. Leave that out, or send it in another form, WAV or MP3 for example.';

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
  // FE and FF would be its first layer, which is not used any more; texts in UTF-16 begin with FF FE.
  const isMpeg =
    (second & 0xe0) === 0xe0 && (second & 0x18) !== 0x08 && (second & 0x06) !== 0 && second < 0xfe;
  const isRate = (third & 0xf0) !== 0xf0 && (third & 0x0c) !== 0x0c;
  return isMpeg && isRate ? 'audio/mpeg' : null;
}

/** Forms that some vendors hear and nobody here measures. */
const OTHER_MARKS = /^(#!AMR|caff|\.snd|FORM....AIF[FC])/s;

/** So many bytes tell it. */
export const SOUND_HEAD_BYTES = 16;

/** Whether a file's first bytes are those of a form that sound travels in: not whether it can be heard. */
export function beginsLikeSound(head: Buffer): boolean {
  const text = head.toString('latin1', 0, SOUND_HEAD_BYTES);
  return soundType(head) !== null || OTHER_MARKS.test(text);
}
