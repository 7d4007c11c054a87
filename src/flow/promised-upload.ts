// An artifact that was promised before its bytes: the client sends them to a URL of their own, and they are looked at when
// somebody first asks for them.
import type { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { idFloor, newId } from '../domain/ids.ts';
import { type Staged, StorageMissing, StorageTooLarge } from '../storage/storage.ts';
import {
  type Artifact,
  expireNow,
  findArtifact,
  fulfilArtifact,
  insertArtifacts,
  openPromises,
  type StoredArtifact,
} from '../store/artifacts.ts';
import { databaseNow } from '../store/clock.ts';
import { retentionOf } from './retention.ts';
import { keepStaged } from './upload.ts';

export interface UploadPromise {
  contentType: string;
  bytes: number;
  /** Null: whatever it turns out to be. */
  sha256: string | null;
}

/** How long the URL takes an upload, in seconds, and how long what was uploaded waits for its first use besides. */
const URL_S = 3_600;
const UNUSED_S = 3_600;

/**
 * What an account may have promised and not used. Deleting a promise takes back no URL, so it counts until that has run out.
 * Used, it is an artifact as any.
 */
const PROMISES = 1_000;
const PROMISED_BYTES = 20 * 1024 ** 3;

/** `url` is null where storage cannot be reached by clients: then the API takes the bytes itself. @throws AppError rate_limited */
export async function promiseUpload(
  ctx: Context,
  accountId: string,
  { contentType, bytes, sha256 }: UploadPromise,
): Promise<{ artifact: StoredArtifact; url: string | null; expiresAt: Date }> {
  const id = newId('art');
  const now = await databaseNow(ctx.flow);
  await assertRoom(ctx, { accountId, bytes, now });
  const storageKey = `${accountId}/up_${id}`;
  const url = await ctx.storage.linkIn(storageKey, { contentType, bytes, expiresInS: URL_S });
  const after = (seconds: number): Date => new Date(now.getTime() + seconds * 1000);
  const promised = { id, accountId, contentType, bytes, sha256: sha256 ?? '', storageKey };
  const unknown = { jobId: null, width: null, height: null, durationMs: null, sampleRate: null };
  const terms = { direction: 'input', expiresAt: after(URL_S + UNUSED_S), pending: true } as const;
  const artifact: Artifact = { ...promised, ...unknown, ...terms };
  await transaction(ctx.flow, async (tx) => insertArtifacts(tx, [artifact], now));
  return { artifact: { ...artifact, createdAt: now, deletedAt: null }, url, expiresAt: after(URL_S) };
}

async function assertRoom(
  ctx: Context,
  { accountId, bytes, now }: { accountId: string; bytes: number; now: Date },
): Promise<void> {
  const since = new Date(now.getTime() - (URL_S + UNUSED_S) * 1000);
  const open = await openPromises(ctx.flow, accountId, idFloor('art', since));
  if (open.count < PROMISES && open.bytes + bytes <= PROMISED_BYTES) return;
  throw new AppError('rate_limited', {
    message: `Too many uploads were promised in the last two hours and never used: ${PROMISES}, or ${PROMISED_BYTES} bytes, are the most. Upload and use some, or wait.`,
    details: { max: PROMISES, max_bytes: PROMISED_BYTES, open: open.count, open_bytes: open.bytes },
    headers: { 'retry-after': '60' },
  });
}

/**
 * The artifact as it is, or, if it was only promised, as its bytes make it now. Bytes that are not what was promised are
 * removed, and the artifact with them.
 * @param field of the request that named it
 * @throws AppError input_unsupported, data_deleted
 */
export async function usable(ctx: Context, artifact: StoredArtifact, field: string): Promise<StoredArtifact> {
  if (!artifact.pending || artifact.deletedAt) return artifact;
  const found = await looking(ctx, artifact);
  if (typeof found === 'string')
    throw new AppError('input_unsupported', { message: found, details: { field } });
  if (found.deletedAt) throw deleted();
  return found;
}

/** The artifact, or why it cannot be used, in words for its client. */
type Look = StoredArtifact | string;

const looks = new Map<string, Promise<Look>>();
const lanes = new Map<string, Promise<unknown>>();

/**
 * A look brings the whole upload here: who asks meanwhile gets the same answer, and an account's are had one after the other.
 * Else a hundred small requests were ten gigabytes on our disk.
 */
function looking(ctx: Context, artifact: StoredArtifact): Promise<Look> {
  const { id, accountId } = artifact;
  const known = looks.get(id);
  if (known) return known;
  const mine = (lanes.get(accountId) ?? Promise.resolve()).then(() => look(ctx, artifact));
  looks.set(id, mine);
  const done = mine
    .catch(() => {})
    .finally(() => {
      looks.delete(id);
      if (lanes.get(accountId) === done) lanes.delete(accountId);
    });
  lanes.set(accountId, done);
  return mine;
}

async function look(ctx: Context, named: StoredArtifact): Promise<Look> {
  // It was read before its turn came.
  const artifact = await again(ctx, named);
  if (!artifact.pending || artifact.deletedAt) return artifact;
  const staged = await stageUpload(ctx, artifact);
  if (staged === null) {
    const now = await again(ctx, artifact);
    // Somebody else was first, just now.
    if (!now.pending || now.deletedAt) return now;
    return 'The artifact has not been uploaded yet. PUT its bytes to `upload.url` of the answer that made it, then try again.';
  }
  const fault = typeof staged === 'string' ? staged : faultOf(artifact, staged);
  if (typeof staged !== 'string' && fault === null) return fulfil(ctx, artifact, staged);
  if (typeof staged !== 'string') await staged.drop();
  await expireNow(ctx.flow, artifact);
  await dropUploaded(ctx, artifact);
  return `What was uploaded ${fault}, so it was removed. Promise it again, and send just that.`;
}

/** Best effort: nothing names it any more, and it goes with the other orphans. */
export async function dropUploaded(ctx: Context, { storageKey }: Artifact): Promise<void> {
  await ctx.storage.remove(storageKey).catch(() => {});
}

/**
 * Takes the bytes of a promised artifact from the client itself. The same bytes again change nothing.
 * @throws AppError invalid_request if they are others than promised, which the client may try again; conflict; data_deleted
 */
export async function receiveUpload(
  ctx: Context,
  artifact: StoredArtifact,
  content: Readable,
): Promise<void> {
  const staged = await ctx.storage.stage(content, { maxBytes: artifact.bytes }).catch((error: unknown) => {
    throw error instanceof StorageTooLarge
      ? new AppError('body_too_large', { details: { max_bytes: artifact.bytes } })
      : error;
  });
  const fault = faultOf(artifact, staged);
  if (fault !== null) {
    await staged.drop();
    throw new AppError(artifact.pending ? 'invalid_request' : 'conflict', {
      message: `What was sent ${fault}.`,
    });
  }
  if (!artifact.pending) return staged.drop();
  const real = await fulfil(ctx, artifact, staged);
  if (real.deletedAt) throw deleted();
  // Two that sent at once: the first has made it what it is.
  if (real.sha256 !== staged.sha256)
    throw new AppError('conflict', { message: 'Other bytes were sent for it at the same time.' });
}

const deleted = (): AppError => new AppError('data_deleted', { message: 'The artifact was deleted.' });

/** Null: nothing is there. A text: more is there than was promised. */
async function stageUpload(ctx: Context, { storageKey, bytes }: Artifact): Promise<Staged | string | null> {
  try {
    return await ctx.storage.stage(await ctx.storage.open(storageKey), { maxBytes: bytes });
  } catch (error) {
    if (error instanceof StorageMissing) return null;
    if (error instanceof StorageTooLarge) return `is longer than the ${bytes} bytes that were promised`;
    throw error;
  }
}

function faultOf({ bytes, sha256 }: Artifact, staged: Staged): string | null {
  if (staged.bytes !== bytes) return `has ${staged.bytes} bytes where ${bytes} were promised`;
  if (sha256 !== '' && staged.sha256 !== sha256) return 'has another SHA-256 than was promised';
  return null;
}

async function fulfil(ctx: Context, artifact: StoredArtifact, staged: Staged): Promise<StoredArtifact> {
  const known = await keepStaged(artifact.accountId, {
    contentType: artifact.contentType,
    staged,
  });
  const { expiresAt } = await retentionOf(ctx, artifact.accountId);
  const real = await fulfilArtifact(ctx.flow, { ...artifact, ...known, expiresAt });
  await dropUploaded(ctx, artifact);
  return real ?? again(ctx, artifact);
}

async function again(ctx: Context, { accountId, id }: Artifact): Promise<StoredArtifact> {
  const found = await findArtifact(ctx.flow, accountId, id);
  if (!found) throw new AppError('not_found');
  return found;
}
