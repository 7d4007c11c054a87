import type { Context } from '../context.ts';
import { hashSecret, parseKey, sameHash } from '../domain/api-key.ts';
import { findKey, type KnownKey } from '../store/keys.ts';

/** What this database knows of a key, also of one that is not valid any more; null: it is none of its keys. */
export async function knownKey(
  { flow, secrets }: Pick<Context, 'flow' | 'secrets'>,
  token: string,
): Promise<KnownKey | null> {
  const parts = parseKey(token);
  const found = parts && (await findKey(flow, parts.lookup));
  if (!found || found.mode !== parts.mode) return null;
  return sameHash(found.secretHmac, hashSecret(secrets.pepper, parts)) ? found : null;
}
