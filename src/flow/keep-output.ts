// A provider's output as the job will show it: bytes go to storage as artifacts, the rest is JSON text (contract 6).
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { persistently } from '../db/transaction.ts';
import { newId } from '../domain/ids.ts';
import type { Output } from '../providers/provider.ts';
import type { Written } from '../storage/storage.ts';
import type { Artifact } from '../store/artifacts.ts';
import { retentionOf } from './retention.ts';

export interface Kept {
  outputJson: string;
  artifacts: Artifact[];
}

interface Owner {
  accountId: string;
  jobId: string;
  /** Aborted, nobody waits any longer for a storage that is away: the job is no longer ours. */
  leaving: AbortSignal;
}

/** @throws if storage has not taken the bytes in ten minutes, or when we left */
export async function keepOutput(ctx: Context, owner: Owner, output: Output): Promise<Kept> {
  switch (output.kind) {
    case 'chat':
      return {
        outputJson: `{"text":${JSON.stringify(output.text)},"completion":${output.completion}}`,
        artifacts: [],
      };
    case 'stt': {
      const { text, language, durationMs, segments } = output;
      return {
        outputJson: JSON.stringify({ text, language, duration_ms: durationMs, segments }),
        artifacts: [],
      };
    }
    case 'tts': {
      const { durationMs, sampleRate } = output;
      const artifact = await store(ctx, await kept(ctx, owner), {
        ...blank,
        ...output,
        durationMs,
        sampleRate,
      });
      const audio = { ...view(ctx, artifact), duration_ms: durationMs, sample_rate: sampleRate };
      return { outputJson: JSON.stringify({ audio }), artifacts: [artifact] };
    }
    case 'image': {
      const until = await kept(ctx, owner);
      const artifacts = await Promise.all(
        output.images.map((image) => store(ctx, until, { ...blank, ...image })),
      );
      const images = output.images.map(({ width, height, seed, revisedPrompt }, i) => ({
        ...view(ctx, artifacts[i] as Artifact),
        width,
        height,
        ...(seed === null ? {} : { seed }),
        ...(revisedPrompt === null ? {} : { revised_prompt: revisedPrompt }),
      }));
      return { outputJson: JSON.stringify({ images }), artifacts };
    }
  }
}

/** An outcome in hand was paid for: it outlasts a database that is away, here as in its settlement, and a storage likewise. */
const PATIENCE_MS = 10 * 60_000;

type Keeping = Owner & { expiresAt: Date | null };

async function kept(ctx: Context, owner: Owner): Promise<Keeping> {
  const { expiresAt } = await persistently(() => retentionOf(ctx, owner.accountId), { forMs: PATIENCE_MS });
  return { ...owner, expiresAt };
}

const blank = { width: null, height: null, durationMs: null, sampleRate: null };

type Content = Pick<Artifact, 'contentType' | 'width' | 'height' | 'durationMs' | 'sampleRate'> & {
  bytes: Buffer;
};

async function store(ctx: Context, owner: Keeping, content: Content): Promise<Artifact> {
  const { accountId, jobId, expiresAt } = owner;
  const written = await persistently(() => putContent(ctx, accountId, content.bytes), {
    forMs: PATIENCE_MS,
    signal: owner.leaving,
    on: tellOnce(ctx, jobId),
  });
  crashPoint('artifact-stored');
  const { contentType, width, height, durationMs, sampleRate } = content;
  return {
    id: newId('art'),
    accountId,
    direction: 'output',
    jobId,
    contentType,
    width,
    height,
    durationMs,
    sampleRate,
    ...written,
    expiresAt,
    pending: false,
  };
}

async function putContent(
  ctx: Context,
  accountId: string,
  content: Buffer,
): Promise<Written & { storageKey: string }> {
  const staged = await ctx.storage.stage(content);
  const { bytes, sha256 } = staged;
  return { bytes, sha256, storageKey: await staged.keep(accountId) };
}

/** Whatever is wrong with a storage, an operator may mend it: nothing about the bytes could be refused. */
function tellOnce(ctx: Context, jobId: string): (error: unknown) => true {
  let told = false;
  return (err) => {
    if (!told) ctx.log.warn({ err, job: jobId }, 'an output cannot be stored at present; it is tried again');
    told = true;
    return true;
  };
}

function view(ctx: Context, { id, contentType, bytes, sha256, expiresAt }: Artifact) {
  const url = `${ctx.publicUrl()}/v1/artifacts/${id}/content`;
  return { artifact_id: id, url, content_type: contentType, bytes, sha256, expires_at: expiresAt };
}
