// The audio a job is to hear, or the image it is to edit: sent along, an artifact, or behind a URL, which is fetched once a job.
import { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import type { Bounds, JobErrorCode } from '../domain/job.ts';
import { recognise } from '../domain/measure-sound.ts';
import { beginsLikeSound, mayOutlast, SOUND_HEAD_BYTES, UNMEASURED } from '../domain/sound.ts';
import type { Call } from '../providers/provider.ts';
import { type Artifact, findArtifact, findFetched } from '../store/artifacts.ts';
import type { Claimed } from '../store/claims.ts';
import { fetchUpload, Unfetched } from './fetch-input.ts';
import { dropUpload, keepUpload, type Upload } from './upload.ts';

/** The job cannot be heard: how it fails. */
export class Unheard extends Error {
  readonly code: JobErrorCode;
  readonly retryable: boolean;

  constructor(code: JobErrorCode, message: string, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export type Hearing = Pick<Claimed, 'accountId' | 'jobId' | 'boundsJson'>;

/**
 * @param signal ends a fetch, and what has just been fetched is not heard; what was fetched before is, since a vendor may be at work on it
 * @throws Unheard
 */
export async function openAudio(
  ctx: Context,
  claimed: Hearing,
  { input, signal }: { input: string; signal: AbortSignal },
): Promise<Call['artifact']> {
  const {
    artifact: id,
    audio,
    url,
    max_seconds: named,
  } = JSON.parse(input) as { artifact?: string; audio?: string; url?: string; max_seconds?: number };
  if (audio !== undefined) {
    const bytes = Buffer.from(audio, 'base64');
    const { contentType, durationMs } = await recognise(bytes);
    return {
      contentType: contentType ?? 'application/octet-stream',
      bytes: bytes.length,
      durationMs,
      open: async () => Readable.from([bytes]),
    };
  }
  const artifact: Artifact | null =
    url !== undefined
      ? await fetched(ctx, claimed, { url, named: named !== undefined, signal })
      : id === undefined
        ? null
        : await findArtifact(ctx.flow, claimed.accountId, id);
  // Admission lets in none that is not there; without it, an image would be made where one is to be edited.
  if (!artifact && id !== undefined) throw new Error(`the artifact ${id} of an input is not there`);
  if (!artifact) return null;
  return {
    contentType: artifact.contentType,
    bytes: artifact.bytes,
    durationMs: artifact.durationMs,
    open: () => ctx.storage.open(artifact.storageKey),
  };
}

/** What an earlier attempt fetched is what the job hears, whatever stands behind the URL by now. */
async function fetched(
  ctx: Context,
  { accountId, jobId, boundsJson }: Hearing,
  { url, named, signal }: { url: string; named: boolean; signal: AbortSignal },
): Promise<Artifact> {
  let kept: Artifact | null = await findFetched(ctx.flow, accountId, jobId);
  if (!kept) {
    kept = await keep(ctx, { accountId, jobId }, await fetchAudio(ctx, { url, signal }));
    signal.throwIfAborted();
  }
  const { audio_ms: most } = JSON.parse(boundsJson) as Bounds;
  // A bound that the client did not name is the plan's: what lasts longer than that is the operator's risk.
  if (kept.durationMs === null && named && most !== undefined && mayOutlast(most, kept.bytes))
    throw new Unheard('input_unsupported', UNMEASURED);
  if (kept.durationMs !== null && most !== undefined && kept.durationMs > most)
    throw new Unheard(
      'input_too_long',
      `The audio behind the URL lasts ${kept.durationMs} ms, and the job was held for ${most}. It is kept as ${kept.id}: name a larger input.max_seconds, if your plan allows it.`,
    );
  return kept;
}

async function fetchAudio(ctx: Context, from: { url: string; signal: AbortSignal }): Promise<Upload> {
  try {
    return await fetchUpload(ctx, { ...from, field: 'input.url' });
  } catch (error) {
    if (error instanceof Unfetched) throw new Unheard('input_unreachable', error.message, error.passing);
    if (!(error instanceof AppError)) throw error;
    if (error.code === 'body_too_large')
      throw new Unheard('input_too_long', 'What is behind the URL is larger than 100 MiB.');
    throw new Unheard('input_unsupported', error.message);
  }
}

async function keep(
  ctx: Context,
  { accountId, jobId }: { accountId: string; jobId: string },
  upload: Upload,
): Promise<Artifact> {
  const head = await upload.staged.head(SOUND_HEAD_BYTES);
  if (!beginsLikeSound(head)) {
    await dropUpload(upload);
    throw new Unheard('input_unsupported', 'What is behind the URL is not audio in a form that we know.');
  }
  return keepUpload(ctx, accountId, upload, jobId);
}
