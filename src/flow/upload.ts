// An upload becomes an artifact: first its bytes, then its row.
import type { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { measureStream } from '../domain/measure-sound.ts';
import { settledType } from '../domain/media-types.ts';
import { pictureOf } from '../domain/picture.ts';
import { markedSound, soundType } from '../domain/sound.ts';
import { type Staged, StorageTooLarge } from '../storage/storage.ts';
import { type Artifact, insertArtifacts, type StoredArtifact } from '../store/artifacts.ts';
import { retentionOf } from './retention.ts';

export const ARTIFACT_MAX_BYTES = 100 * 1024 * 1024;
/** Cameras write previews and profiles before an image's sides. */
const HEAD_BYTES = 512 * 1024;

/** Bytes that came whole, and are not yet anybody's artifact. They have to be kept or dropped. */
export interface Upload {
  contentType: string;
  staged: Staged;
}

/** @throws AppError body_too_large */
export async function storeUpload(
  ctx: Context,
  { content, contentType }: { content: Readable & { truncated?: boolean }; contentType: string },
): Promise<Upload> {
  const tooLarge = (): AppError =>
    new AppError('body_too_large', { details: { max_bytes: ARTIFACT_MAX_BYTES } });
  const staged = await ctx.storage
    .stage(content, { maxBytes: ARTIFACT_MAX_BYTES })
    .catch((error: unknown) => {
      throw error instanceof StorageTooLarge ? tooLarge() : error;
    });
  if (content.truncated) {
    await staged.drop();
    throw tooLarge();
  }
  return { contentType: safeType(contentType), staged };
}

/** Of an upload that came to nothing. */
export async function dropUpload({ staged }: Upload): Promise<void> {
  await staged.drop();
}

/** Makes the account's artifact of it; with a job's id, an input of that job. */
export async function keepUpload(
  ctx: Context,
  accountId: string,
  upload: Upload,
  jobId: string | null = null,
): Promise<StoredArtifact> {
  const known = await keepStaged(accountId, upload);
  const { now, expiresAt } = await retentionOf(ctx, accountId);
  const artifact: Artifact = { ...known, id: newId('art'), direction: 'input', jobId, expiresAt };
  await transaction(ctx.flow, async (tx) => insertArtifacts(tx, [artifact], now));
  return { ...artifact, createdAt: now, deletedAt: null };
}

type Found = Pick<Artifact, 'contentType' | 'width' | 'height' | 'durationMs' | 'sampleRate'>;
type Known = Omit<Artifact, 'id' | 'direction' | 'jobId' | 'expiresAt'>;

/** Keeps the bytes, and answers what they say of themselves. They are looked at here, before storage has them. */
export async function keepStaged(accountId: string, { staged, contentType }: Upload): Promise<Known> {
  const { bytes, sha256 } = staged;
  const found = await lookAt(staged, contentType).catch(async (error: unknown) => {
    await staged.drop();
    throw error;
  });
  const storageKey = await staged.keep(accountId);
  return { accountId, bytes, sha256, storageKey, pending: false, ...found };
}

/** What the bytes themselves say; holds are made by it, so nothing that the client says of them counts. */
async function lookAt(staged: Staged, contentType: string): Promise<Found> {
  const { bytes } = staged;
  const unknown = { contentType, width: null, height: null, durationMs: null, sampleRate: null };
  if (bytes === 0) return unknown;
  const head = await staged.head(Math.min(HEAD_BYTES, bytes));
  const picture = pictureOf(head);
  if (picture) return { ...unknown, ...picture, contentType: settledType(contentType, picture.contentType) };
  // A frame's few bits may be there by chance, in what is no sound.
  const maySound = contentType.startsWith('audio/') || contentType === 'application/octet-stream';
  const type = maySound ? soundType(head) : markedSound(head);
  if (type === null) return unknown;
  const sound = await measureStream(staged.content(), { contentType: type, bytes });
  return { ...unknown, ...sound, contentType: settledType(contentType, type) };
}

/** What a client calls its bytes, if that is a media type at all. */
function safeType(contentType: string): string {
  return /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(contentType)
    ? contentType.toLowerCase()
    : 'application/octet-stream';
}
