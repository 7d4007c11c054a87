// What a call needs besides the job's row: its route with the key opened, and the audio to hear.
import { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { isComputeTime } from '../domain/pricing.ts';
import type { Call, Route } from '../providers/provider.ts';
import { type Artifact, findArtifact } from '../store/artifacts.ts';
import type { FullRoute } from '../store/catalogue.ts';
import { openSeal } from './seal.ts';

/** Who admitted the job may have heard of a new route before this process did. */
export async function findRoute(ctx: Context, id: string): Promise<FullRoute | undefined> {
  if (!ctx.catalogue().routes.has(id)) await ctx.refreshCatalogue();
  return ctx.catalogue().routes.get(id);
}

export function openRoute(ctx: Context, row: FullRoute): Route {
  const apiKey = row.sealedKey && openSeal(ctx.secrets.keys, `route:${row.id}`, row.sealedKey);
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

export async function openAudio(ctx: Context, accountId: string, input: string): Promise<Call['audio']> {
  const { artifact: id, audio } = JSON.parse(input) as { artifact?: string; audio?: string };
  if (audio !== undefined) {
    const bytes = Buffer.from(audio, 'base64');
    return { contentType: 'audio/wav', bytes: bytes.length, open: async () => Readable.from([bytes]) };
  }
  const artifact: Artifact | null = id === undefined ? null : await findArtifact(ctx.flow, accountId, id);
  if (!artifact) return null;
  return {
    contentType: artifact.contentType,
    bytes: artifact.bytes,
    open: () => ctx.storage.open(artifact.storageKey),
  };
}
