// An upload becomes an artifact: first its bytes, then its row.
import type { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { wavFormat } from '../domain/wav.ts';
import { type Staged, StorageTooLarge } from '../storage/storage.ts';
import { type Artifact, insertArtifacts, type StoredArtifact } from '../store/artifacts.ts';
import { retentionOf } from './retention.ts';

export const ARTIFACT_MAX_BYTES = 100 * 1024 * 1024;
const HEAD_BYTES = 64 * 1024;

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
  { contentType, staged }: Upload,
  jobId: string | null = null,
): Promise<StoredArtifact> {
  const known = await keepStaged(ctx, accountId, staged);
  const { now, expiresAt } = await retentionOf(ctx, accountId);
  const rest = { id: newId('art'), direction: 'input', jobId, contentType, expiresAt } as const;
  const artifact: Artifact = { ...known, ...rest };
  await transaction(ctx.flow, async (tx) => insertArtifacts(tx, [artifact], now));
  return { ...artifact, createdAt: now, deletedAt: null };
}

type Known = Omit<Artifact, 'id' | 'direction' | 'contentType' | 'expiresAt'>;

/** Keeps the bytes, and answers what they say of themselves. */
export async function keepStaged(ctx: Context, accountId: string, staged: Staged): Promise<Known> {
  const { bytes, sha256 } = staged;
  const wave = waveOf(await staged.head(HEAD_BYTES), bytes);
  const storageKey = await staged.keep(accountId);
  return {
    accountId,
    jobId: null,
    bytes,
    sha256,
    width: null,
    height: null,
    ...wave,
    storageKey,
    pending: false,
  };
}

/** The length that counts is the stored one, not the one the header claims. */
function waveOf(head: Buffer, bytes: number): Pick<Artifact, 'durationMs' | 'sampleRate'> {
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
