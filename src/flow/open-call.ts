// What a call needs besides the job's row: its route with the key opened, and the bytes its input refers to.
import { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { recognise } from '../domain/measure-sound.ts';
import type { OpenedArtifact, Route } from '../providers/provider.ts';
import { findArtifact } from '../store/artifacts.ts';
import { isComputeTime } from '../domain/pricing.ts';
import type { FullRoute } from '../store/catalogue.ts';
import { openSeal } from './seal.ts';

/** Who admitted the job may have heard of a new route before this process did. */
export async function findRoute(ctx: Context, id: string): Promise<FullRoute | undefined> {
  if (!ctx.catalogue().routes.has(id)) await ctx.refreshCatalogue();
  return ctx.catalogue().routes.get(id);
}

export function openRoute(ctx: Context, row: FullRoute): Route {
  const apiKey = row.sealedKey && openSeal(ctx.secrets.key, row.sealedKey);
  return {
    id: row.id,
    provider: row.provider,
    upstreamModel: row.upstreamModel,
    baseUrl: row.baseUrl ?? '',
    apiKey,
    data: row.data,
    timed: row.cost.some(isComputeTime),
  };
}

/** Null: the input refers to none. @throws where the one it refers to is not the account's, which admission lets in never */
export async function openArtifact(
  ctx: Context,
  accountId: string,
  input: string,
): Promise<OpenedArtifact | null> {
  const { artifact: id, audio } = JSON.parse(input) as { artifact?: string; audio?: string };
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
  if (id === undefined) return null;
  const artifact = await findArtifact(ctx.flow, accountId, id);
  if (!artifact) throw new Error(`the artifact ${id} of an input is not there`);
  return {
    contentType: artifact.contentType,
    bytes: artifact.bytes,
    durationMs: artifact.durationMs,
    open: () => ctx.storage.open(artifact.storageKey),
  };
}
