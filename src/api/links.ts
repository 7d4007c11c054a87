import { createHmac, timingSafeEqual } from 'node:crypto';

interface Link {
  id: string;
  /** Unix seconds. */
  expires: number;
}

/** What a link lets its bearer do: read the bytes, or send those that were promised. */
type Use = 'link' | 'upload';

/** Signs one artifact until one instant, under a key of its own drawn from the installation's. */
export function linkSignature(key: Buffer, { id, expires }: Link, use: Use = 'link'): string {
  return createHmac('sha256', key).update(`artifact-${use}.${id}.${expires}`).digest('base64url');
}

export function verifyLink(
  key: Buffer,
  { signature, ...link }: Link & { signature: string },
  use: Use = 'link',
): boolean {
  if (link.expires * 1000 <= Date.now()) return false;
  const [given, right] = [Buffer.from(signature), Buffer.from(linkSignature(key, link, use))];
  return given.length === right.length && timingSafeEqual(given, right);
}
