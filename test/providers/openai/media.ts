// The provider and a vendor of images, speech and transcriptions, for a file of tests.
import { Readable } from 'node:stream';
import { afterAll, beforeAll } from 'vitest';
import { openaiProvider } from '../../../src/providers/openai/index.ts';
import type {
  Call,
  CallResult,
  OpenedArtifact,
  Output,
  Provider,
  Route,
} from '../../../src/providers/provider.ts';
import { wavFile } from '../../../src/domain/wav.ts';
import { type MediaVendor, startMediaVendor, VENDOR_KEY } from '../../support/media-vendor.ts';
import { callOf, route } from '../support.ts';

export interface Bench {
  vendor: MediaVendor;
  provider: Provider;
  /** One call, of the model and with the route's data that are named. */
  call(
    kind: Call['kind'],
    input: object,
    rest?: Partial<Call> & Partial<Pick<Route, 'upstreamModel' | 'data'>>,
  ): Promise<CallResult>;
}

export function bench(limits: { totalMs?: number; idleMs?: number } = {}): Bench {
  const made = {} as Bench;
  beforeAll(async () => {
    made.vendor = await startMediaVendor();
    made.provider = openaiProvider(limits);
  });
  afterAll(async () => {
    await made.provider.close();
    await made.vendor.close();
  });
  made.call = (kind, input, { upstreamModel = 'mill-1', data = {}, ...rest } = {}) =>
    made.provider.call(
      { ...route(made.vendor.url, VENDOR_KEY), upstreamModel, data },
      callOf(kind, input, rest),
    );
  return made;
}

export function outputOf<K extends Output['kind']>(
  result: CallResult,
  kind: K,
): Extract<Output, { kind: K }> {
  if (result.type !== 'succeeded' || result.output.kind !== kind)
    throw new Error(`no ${kind}: ${JSON.stringify(result)}`);
  return result.output as Extract<Output, { kind: K }>;
}

/** 2.5 s of a tone, given out in pieces as storage does. */
export const WAV = wavFile(Int16Array.from({ length: 40_000 }, (_, i) => 9_000 * Math.sin(i / 9)));
export const artifactOf = (
  bytes: Buffer,
  contentType: string,
  durationMs: number | null = null,
): OpenedArtifact => ({
  contentType,
  bytes: bytes.length,
  durationMs,
  open: async () =>
    Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 9_000) }, (_, i) =>
        bytes.subarray(i * 9_000, (i + 1) * 9_000),
      ),
    ),
});
