/** A fault of the embedded services, told in one line that a newcomer can act on. */
export class EmbeddedError extends Error {
  override name = 'EmbeddedError';
}

/** The last lines that say something, joined into one: for the end of an error message. */
export function lastLines(text: string, count = 3): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter(Boolean).slice(-count).join(' | ');
}

/** The system's code of a failed call (`ENOENT`, `EACCES`), or null for any other error. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}
