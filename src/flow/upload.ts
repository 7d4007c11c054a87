// An upload becomes an artifact: first its bytes, then its row.
import type { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { wavFormat } from '../domain/wav.ts';
import { StorageTooLarge } from '../storage/storage.ts';
import { databaseNow } from '../store/clock.ts';
import { type Artifact, insertArtifacts, type StoredArtifact } from '../store/artifacts.ts';

export const ARTIFACT_MAX_BYTES = 100 * 1024 * 1024;
const HEAD_BYTES = 64 * 1024;

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
  const wave = await waveOf(ctx, upload.storageKey, upload.bytes);
  const now = await databaseNow(ctx.flow);
  const rest = { direction: 'input', jobId, width: null, height: null, ...wave } as const;
  const artifact: Artifact = { ...upload, accountId, ...rest };
  await transaction(ctx.flow, async (tx) => insertArtifacts(tx, [artifact], now));
  return { ...artifact, createdAt: now, expiresAt: null, deletedAt: null };
}

/** Only the head is read; the length that counts is the stored one, not the one the header claims. */
async function waveOf(
  ctx: Context,
  key: string,
  bytes: number,
): Promise<{ durationMs: number | null; sampleRate: number | null }> {
  const chunks: Buffer[] = [];
  const end = Math.min(HEAD_BYTES, bytes) - 1;
  if (end >= 0)
    for await (const chunk of await ctx.storage.open(key, { start: 0, end })) chunks.push(chunk as Buffer);
  const head = Buffer.concat(chunks);
  const wave = wavFormat(head);
  if (!wave) return { durationMs: null, sampleRate: null };
  const dataBytes = wave.dataBytes + bytes - head.length;
  return { durationMs: Math.ceil((dataBytes / wave.bytesPerSecond) * 1000), sampleRate: wave.sampleRate };
}

/** What a client calls its bytes, if that is a media type at all. */
function safeType(contentType: string): string {
  return /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(contentType)
    ? contentType.toLowerCase()
    : 'application/octet-stream';
}
