// Names of sounds and images, as clients call them, and the endings by which vendors tell them.

const ENDINGS: Record<string, string> = {
  'audio/mpeg': 'mp3',
  'audio/mp3': 'mp3',
  'audio/mp4': 'm4a',
  'audio/m4a': 'm4a',
  'audio/x-m4a': 'm4a',
  'video/mp4': 'mp4',
  'audio/ogg': 'ogg',
  'audio/opus': 'ogg',
  'application/ogg': 'ogg',
  'audio/webm': 'webm',
  'video/webm': 'webm',
  'audio/flac': 'flac',
  'audio/x-flac': 'flac',
  'audio/aac': 'aac',
  'audio/wav': 'wav',
  'audio/wave': 'wav',
  'audio/x-wav': 'wav',
  'audio/vnd.wave': 'wav',
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/jpg': 'jpg',
  'image/webp': 'webp',
};

/** A file's ending, without the dot; undefined for what is neither sound nor image. */
export const endingOf = (contentType: string): string | undefined => ENDINGS[contentType];

/** What something is to be called: as its bytes say, unless the client's word is another name for the same. */
export function settledType(claimed: string, found: string | null): string {
  if (found === null) return claimed;
  const family = (name: string): string | undefined => endingOf(name)?.replace('mp4', 'm4a');
  return family(claimed) === family(found) ? claimed : found;
}
