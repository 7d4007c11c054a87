// A provider's output as the job will show it: bytes go to storage as artifacts, the rest is JSON text (contract 6).
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { persistently } from '../db/transaction.ts';
import { newId } from '../domain/ids.ts';
import type { Output } from '../providers/provider.ts';
import type { Artifact } from '../store/artifacts.ts';
import { retentionOf } from './retention.ts';

export interface Kept {
  outputJson: string;
  artifacts: Artifact[];
}

type Owner = { accountId: string; jobId: string };

/** @throws if storage does not take the bytes */
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

/** An outcome in hand outlasts a database that is away, here as in its settlement. */
const PATIENCE_MS = 10 * 60_000;

async function kept(ctx: Context, owner: Owner): Promise<Owner & { expiresAt: Date | null }> {
  const { expiresAt } = await persistently(() => retentionOf(ctx, owner.accountId), { forMs: PATIENCE_MS });
  return { ...owner, expiresAt };
}

const blank = { width: null, height: null, durationMs: null, sampleRate: null };

type Content = Pick<Artifact, 'contentType' | 'width' | 'height' | 'durationMs' | 'sampleRate'> & {
  bytes: Buffer;
};

async function store(
  ctx: Context,
  { accountId, jobId, expiresAt }: Owner & { expiresAt: Date | null },
  content: Content,
): Promise<Artifact> {
  const { bytes, contentType, width, height, durationMs, sampleRate } = content;
  const staged = await ctx.storage.stage(bytes);
  const storageKey = await staged.keep(accountId);
  crashPoint('artifact-stored');
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
    storageKey,
    bytes: staged.bytes,
    sha256: staged.sha256,
    expiresAt,
    pending: false,
  };
}

function view(ctx: Context, { id, contentType, bytes, sha256, expiresAt }: Artifact) {
  const url = `${ctx.publicUrl()}/v1/artifacts/${id}/content`;
  return { artifact_id: id, url, content_type: contentType, bytes, sha256, expires_at: expiresAt };
}
