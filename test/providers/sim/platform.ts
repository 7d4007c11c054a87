// The provider `sim` as a worker has it, on a simulator of the test file's own.
import { Readable } from 'node:stream';
import { afterAll, beforeAll } from 'vitest';
import type { Call, CallResult, OpenedArtifact, Output, Provider } from '../../../src/providers/provider.ts';
import { openProviders, type Providers } from '../../../src/providers/registry.ts';
import { callOf, hello, route, type Sim, startSim, until } from '../support.ts';

export let sim: Sim;
let providers: Providers;
export let provider: Provider;
beforeAll(async () => {
  sim = await startSim();
  providers = openProviders({ simUrl: sim.url });
  provider = providers.get('sim');
});
afterAll(async () => {
  await providers.close();
  await sim.stop();
});

export const at = route();

export function output<K extends Output['kind']>(result: CallResult, kind: K): Extract<Output, { kind: K }> {
  if (result.type !== 'succeeded' || result.output.kind !== kind)
    throw new Error(`no ${kind}: ${JSON.stringify(result)}`);
  return result.output as Extract<Output, { kind: K }>;
}

export const audioOf = (bytes: Buffer, contentType = 'audio/wav'): OpenedArtifact => ({
  contentType,
  bytes: bytes.length,
  durationMs: null,
  // In pieces, as storage reads them.
  open: async () =>
    Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 9_000) }, (_, i) =>
        bytes.subarray(i * 9_000, (i + 1) * 9_000),
      ),
    ),
});

export const spoken = async (input: object): Promise<Extract<Output, { kind: 'tts' }>> =>
  output(await provider.call(at, callOf('tts', input)), 'tts');
export const logged = (jobId: string) =>
  until(async () => (await sim.calls()).find((call) => call.job_id === jobId && call.ended_at !== null));

/** One good input of each kind. */
const INPUTS: Record<Exclude<Call['kind'], 'stt'>, object> & { stt: object } = {
  chat: hello,
  image: { prompt: 'a mill', size: '64x80' },
  tts: { input: 'Say it.' },
  stt: { language: 'en' },
};
export const KINDS = ['chat', 'image', 'tts', 'stt'] as const;

export async function callWith(
  kind: Call['kind'],
  simField: object,
  rest: Partial<Call> = {},
): Promise<Call> {
  const audio = kind === 'stt' ? audioOf((await spoken({ input: 'Hear it.' })).bytes) : null;
  return callOf(kind, { ...INPUTS[kind], sim: simField }, { artifact: audio, ...rest });
}
