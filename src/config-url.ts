/** A variable that holds a URL, without slashes at its end; null: it is not set. @throws Error naming the variable */
export function asUrl(
  raw: string | null,
  { name, protocols }: { name: string; protocols: string[] },
): string | null {
  if (raw === null) return null;
  if (!URL.canParse(raw) || !protocols.includes(new URL(raw).protocol)) {
    throw new Error(`${name} must be a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}.`);
  }
  return raw.replace(/\/+$/, '');
}
