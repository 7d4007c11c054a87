import { rewriteObject } from '../../domain/json-members.ts';
import { type Ended, evidenceOf, exchange } from '../exchange.ts';
import { malformed, parsed } from '../failure.ts';
import { isCount } from '../openai/usage.ts';
import type { CallResult, ImageOutput } from '../provider.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf } from './link.ts';
import { resultOf } from './remote.ts';

const MOST_BYTES = 64 << 20;

/** The client's input with the model and the bounds that were priced. */
export async function simImage(link: Link, asked: Asked): Promise<CallResult> {
  const { route, call } = asked;
  const set: Record<string, string> = {
    model: JSON.stringify(route.upstreamModel),
    response_format: '"b64_json"',
  };
  if (call.bounds.n !== undefined) set.n = String(call.bounds.n);
  if (call.bounds.size !== undefined) set.size = JSON.stringify(call.bounds.size);
  const body = rewriteObject(call.input, set);
  const request = requestFor(link, asked, '/v1/images/generations');
  const ended = await exchange(link.agent, { ...request, body, maxBytes: MOST_BYTES });
  return resultOf(link, { ...asked, ended }, imageReader(asked));
}

export const imageReader =
  (asked: Asked): Reader =>
  (ended) => {
    const body = parsed(ended.body) as { data?: unknown; usage?: { images?: unknown } } | null | undefined;
    const images = Array.isArray(body?.data) ? (body.data as unknown[]).map(imageOf) : [];
    const whole = images.filter((image) => image !== null);
    if (whole.length === 0 || whole.length < images.length) {
      return malformed(ended, { body, what: 'no images, or some that are none', secrets: secretsOf(asked) });
    }
    return succeeded(ended, {
      images: whole.slice(0, asked.call.bounds.n ?? whole.length),
      billed: body?.usage?.images ?? whole.length,
    });
  };

function succeeded(ended: Ended, { images, billed }: { images: ImageOutput[]; billed: unknown }): CallResult {
  const usage = isCount(billed) ? [{ name: 'image', measure: 'output', quantity: billed } as const] : null;
  return { type: 'succeeded', output: { kind: 'image', images }, usage, evidence: evidenceOf(ended) };
}

const PNG_START = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Null: no PNG. Its own header says how large it is, not what was asked for. */
function imageOf(item: unknown): ImageOutput | null {
  const { b64_json: b64, revised_prompt: revised, seed } = Object(item) as Record<string, unknown>;
  if (typeof b64 !== 'string') return null;
  const bytes = Buffer.from(b64, 'base64');
  if (bytes.length < 33 || !bytes.subarray(0, 8).equals(PNG_START)) return null;
  return {
    bytes,
    contentType: 'image/png',
    width: bytes.readUInt32BE(16),
    height: bytes.readUInt32BE(20),
    seed: Number.isSafeInteger(seed) ? (seed as number) : null,
    revisedPrompt: typeof revised === 'string' ? revised : null,
  };
}
