// Secrets at rest: AES-256-GCM under a key of the installation's ring. Layout: 1 byte version, 4 bytes key id, 12 bytes
// nonce, 16 bytes tag, the rest. Head and owner are authenticated, so what is moved to another row does not open.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { keyName, type KeyRing } from '../domain/key-ring.ts';

const VERSION = 1;
const HEAD = 5;
const NONCE = HEAD + 12;
const TAG = NONCE + 16;

/** What a secret is for, and whose: the row it stands in. */
export type SealOwner = `${'route' | 'endpoint' | 'request'}:${string}`;

/** Under the ring's first key. */
export function seal(keys: KeyRing, owner: SealOwner, secret: string): Buffer {
  const [{ id, sealing }] = keys;
  const head = Buffer.concat([Buffer.of(VERSION), id]);
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', sealing, nonce).setAAD(authenticated(head, owner));
  const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return Buffer.concat([head, nonce, cipher.getAuthTag(), text]);
}

/** @throws Error if no key of the ring sealed it, if it was sealed for another owner, or if the bytes were changed */
export function openSeal(keys: KeyRing, owner: SealOwner, sealed: Uint8Array): string {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes.length < TAG || bytes[0] !== VERSION) throw new Error(`what is sealed for ${owner} is no seal`);
  const id = bytes.subarray(1, HEAD);
  const key = keys.find((one) => one.id.equals(id));
  if (!key)
    throw new Error(
      `what is sealed for ${owner} needs the key ${keyName({ id })}, which MILLRACE_SECRET_KEY does not name`,
    );
  const decipher = createDecipheriv('aes-256-gcm', key.sealing, bytes.subarray(HEAD, NONCE))
    .setAAD(authenticated(bytes.subarray(0, HEAD), owner))
    .setAuthTag(bytes.subarray(NONCE, TAG));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(TAG)), decipher.final()]).toString('utf8');
  } catch (error) {
    throw new Error(`what is sealed for ${owner} was changed, or was sealed for another`, { cause: error });
  }
}

const authenticated = (head: Buffer, owner: SealOwner): Buffer =>
  Buffer.concat([head, Buffer.from(owner, 'utf8')]);
