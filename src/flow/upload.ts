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
import { StorageTooLarge } from '../storage/storage.ts';
import { databaseNow } from '../store/clock.ts';
import { type Artifact, insertArtifacts, type StoredArtifact } from '../store/artifacts.ts';

export const ARTIFACT_MAX_BYTES = 100 * 1024 * 1024;
/** Cameras write previews and profiles before an image's sides. */
const HEAD_BYTES = 512 * 1024;

/** Bytes that are in storage and not yet anybody's artifact. */
export interface Upload {
  id: string;
  storageKey: string;
  contentType: string;
  bytes: number;
  sha256: string;
}

/** @throws AppError body_too_large */
export async function storeUpload(
  ctx: Context,
  accountId: string,
  { content, contentType }: { content: Readable & { truncated?: boolean }; contentType: string },
): Promise<Upload> {
  const id = newId('art');
  const storageKey = `${accountId}/${id}`;
  const tooLarge = (): AppError =>
    new AppError('body_too_large', { details: { max_bytes: ARTIFACT_MAX_BYTES } });
  const written = await ctx.storage
    .put(storageKey, content, { maxBytes: ARTIFACT_MAX_BYTES })
    .catch((error: unknown) => {
      throw error instanceof StorageTooLarge ? tooLarge() : error;
    });
  if (content.truncated) {
    await ctx.storage.remove(storageKey);
    throw tooLarge();
  }
  return { id, storageKey, contentType: safeType(contentType), ...written };
}

/** Of an upload that came to nothing. Best effort: the sweep removes orphans. */
export async function dropUpload(ctx: Context, { storageKey }: Upload): Promise<void> {
  await ctx.storage.remove(storageKey).catch(() => {});
}

/** Makes the account's artifact of it; with a job's id, an input of that job. */
export async function keepUpload(
  ctx: Context,
  accountId: string,
  upload: Upload,
  jobId: string | null = null,
): Promise<StoredArtifact> {
  const found = await lookAt(ctx, upload);
  const now = await databaseNow(ctx.flow);
  const artifact: Artifact = { ...upload, accountId, direction: 'input', jobId, ...found };
  await transaction(ctx.flow, async (tx) => insertArtifacts(tx, [artifact], now));
  return { ...artifact, createdAt: now, expiresAt: null, deletedAt: null };
}

type Found = Pick<Artifact, 'contentType' | 'width' | 'height' | 'durationMs' | 'sampleRate'>;

/** What the bytes themselves say; holds are made by it, so nothing that the client says of them counts. */
async function lookAt(ctx: Context, { storageKey, contentType, bytes }: Upload): Promise<Found> {
  const unknown = { contentType, width: null, height: null, durationMs: null, sampleRate: null };
  if (bytes === 0) return unknown;
  const head = await readHead(ctx, storageKey, Math.min(HEAD_BYTES, bytes));
  const picture = pictureOf(head);
  if (picture) return { ...unknown, ...picture, contentType: settledType(contentType, picture.contentType) };
  // A frame's few bits may be there by chance, in what is no sound.
  const maySound = contentType.startsWith('audio/') || contentType === 'application/octet-stream';
  const type = maySound ? soundType(head) : markedSound(head);
  if (type === null) return unknown;
  const sound = await measureStream(await ctx.storage.open(storageKey), { contentType: type, bytes });
  return { ...unknown, ...sound, contentType: settledType(contentType, type) };
}

async function readHead(ctx: Context, key: string, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await ctx.storage.open(key, { start: 0, end: bytes - 1 }))
    chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What a client calls its bytes, if that is a media type at all. */
function safeType(contentType: string): string {
  return /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(contentType)
    ? contentType.toLowerCase()
    : 'application/octet-stream';
}
