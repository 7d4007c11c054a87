// What a vendor says when it refuses, and how much of it may be repeated: codes and a short sentence, never a key, never a prompt.

export interface VendorError {
  /** The vendor's words for machines: `code`, else `type`. */
  code: string | null;
  message: string | null;
  /** An HTTP status inside the body, as some vendors put it in an answer that began with 200. */
  status: number | null;
  /** The vendor will not serve this content, whoever asks how often. */
  contentPolicy: boolean;
}

export interface Secrets {
  apiKey: string | null;
  /** JSON text of the job's input. */
  input: string;
}

const MOST_MESSAGE = 200;
const CONTENT_POLICY = /content[_-]?(policy|filter|violation|moderation)|moderation|safety|responsibleai/i;

/** Reads `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`; null if `body` holds no error of a known form. */
export function vendorError(body: unknown, secrets: Secrets): VendorError | null {
  const outer = objectOrNull(body);
  if (!outer) return null;
  const error =
    typeof outer.error === 'string' ? { message: outer.error } : (objectOrNull(outer.error) ?? outer);
  const { code, type, message, status } = error as Record<string, unknown>;
  if (error === outer && typeof message !== 'string') return null;
  const inner = objectOrNull((error as Record<string, unknown>).innererror)?.code;
  const words = [code, type, inner].map(word).filter((text) => text !== null);
  return {
    code: words[0] ?? null,
    message: typeof message === 'string' ? repeatable(message, secrets) : null,
    status:
      ([code, status].find(
        (value) => Number.isInteger(value) && (value as number) >= 400 && (value as number) < 600,
      ) as number | null) ?? null,
    contentPolicy: words.some((text) => CONTENT_POLICY.test(text)),
  };
}

const objectOrNull = (value: unknown): Record<string, unknown> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;

/** A word for machines; anything longer or freer might quote somebody. */
const word = (value: unknown): string | null =>
  typeof value === 'string' && /^[\w.:-]{1,64}$/.test(value) ? value : null;

/** The message on one line, shortened, without the key; null if it repeats a piece of the prompt. */
function repeatable(message: string, { apiKey, input }: Secrets): string | null {
  const plain = message.replace(/\s+/g, ' ').trim();
  if (quotes(plain, input)) return null;
  // Vendors show keys in part ("sk-abc***xyz"), so that the whole key is not all there is to remove.
  const clean = (apiKey ? plain.replaceAll(apiKey, '[key]') : plain).replace(
    /\b(?:sk|pk|key|api|gsk|Bearer)[-_ ][\w*.-]{6,}/gi,
    '[key]',
  );
  if (apiKey && quotes(clean, JSON.stringify(apiKey))) return null;
  return clean.length > MOST_MESSAGE ? `${clean.slice(0, MOST_MESSAGE)}…` : clean;
}

/** So many letters in a row that are the same are a quotation. */
const QUOTATION = 12;
/** Larger inputs are searched for fewer and longer pieces: this runs beside everything else that the worker does. */
const LARGE = 256 << 10;

function quotes(message: string, json: string): boolean {
  const text = message.slice(0, 2 * MOST_MESSAGE);
  const [length, step] = json.length > LARGE ? [2 * QUOTATION, QUOTATION] : [QUOTATION, 1];
  const texts = textsOf(JSON.parse(json)).map((value) => value.replace(/\s+/g, ' '));
  for (let at = 0; at + length <= text.length; at += step) {
    const piece = text.slice(at, at + length);
    if (texts.some((value) => value.includes(piece))) return true;
  }
  return texts.some((value) => value.length >= 4 && value.length < length && text.includes(value));
}

/** Members whose values are words of the protocol, which a vendor may well use in a sentence of its own. */
const NO_TEXT = new Set(['role', 'type', 'sim']);

/** All texts among the values of a JSON value. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (NO_TEXT.has(name) ? [] : textsOf(inner)));
}
