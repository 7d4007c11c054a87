// Images made, or edited, by any server that speaks OpenAI's dialect.
import { isWhole, pictureOf } from '../../domain/picture.ts';
import { takesField } from '../../domain/usual-fields.ts';
import { type Ended, evidenceOf } from '../exchange.ts';
import { failed, malformed, NOT_READ, parsed } from '../failure.ts';
import { formOf } from '../form.ts';
import type { CallResult, ImageOutput, OpenedArtifact } from '../provider.ts';
import { type Asked, bodyFor, type Link, post, resultOf, secretsOf } from './link.ts';
import { tokenUsage } from './usage.ts';

/** Ten large images in base64. */
const MOST_BYTES = 128 << 20;

export async function image(link: Link, asked: Asked): Promise<CallResult> {
  const { artifact } = asked.call;
  if (artifact) return edit(link, asked, artifact);
  const set = Object.fromEntries(controls(asked).map(([name, value]) => [name, JSON.stringify(value)]));
  const ended = await post(link, asked, {
    path: '/images/generations',
    body: bodyFor(asked, set),
    maxBytes: MOST_BYTES,
  });
  return resultOf(ended, asked, (whole) => imagesOf(whole, asked));
}

async function edit(link: Link, asked: Asked, artifact: OpenedArtifact): Promise<CallResult> {
  const { route, call } = asked;
  const input = JSON.parse(call.input) as Record<string, unknown>;
  const own = ['prompt', 'quality', 'seed'].filter((name) => takesField('image', route.data, name));
  const fields = [...controls(asked), ...own.map((name) => [name, input[name]] as const)];
  const form = formOf(fields, { name: 'image', artifact });
  const ended = await post(link, asked, {
    path: '/images/edits',
    content: form.headers,
    body: form.body,
    maxBytes: MOST_BYTES,
  });
  if (form.lost()) return failed(ended, NOT_READ);
  return resultOf(ended, asked, (whole) => imagesOf(whole, asked));
}

/** OpenAI's own token models always answer in base64, and refuse to be asked for it. */
const NO_RESPONSE_FORMAT = /(^|\/)(chatgpt|gpt)-image/;

/** What is set by us: the model, the bounds that were priced, and the form of the answer. */
function controls({ route, call }: Asked): (readonly [name: string, value: unknown])[] {
  const { n, size } = call.bounds;
  const { upstreamModel, data } = route;
  const asksForm = data.fields?.includes('response_format') || !NO_RESPONSE_FORMAT.test(upstreamModel);
  const all = [
    ['model', upstreamModel],
    ['n', n],
    ['size', size],
    ['response_format', asksForm ? 'b64_json' : undefined],
  ] as const;
  return all.filter(([name, value]) => value !== undefined && !data.leave_out?.includes(name));
}

function imagesOf(ended: Ended, asked: Asked): CallResult {
  const body = parsed(ended.body) as { data?: unknown; usage?: unknown } | null | undefined;
  const items = Array.isArray(body?.data) ? (body.data as unknown[]) : [];
  const usage = tokenUsage(body?.usage);
  if (items.some(isElsewhere))
    return failed(ended, {
      code: 'provider_malformed',
      retryable: true,
      // Another attempt would bring as much, and another bill.
      oursToMend: true,
      message: "The provider's answer was malformed: it names its images by URL.",
      note: 'images by URL: name response_format in the fields of the route, or do not leave it out',
      billed: usage,
    });
  const images = items.map(imageOf);
  const whole = images.filter((one) => one !== null);
  if (whole.length === 0 || whole.length < images.length) {
    const what = images.length === 0 ? 'no images' : 'an image that is no whole PNG, JPEG or WebP';
    const result = malformed(ended, { body, what, secrets: secretsOf(asked) });
    return result.type === 'failed' ? { ...result, billed: usage } : result;
  }
  // More than were asked for would cost more than was held.
  const output = { kind: 'image', images: whole.slice(0, asked.call.bounds.n ?? whole.length) } as const;
  return { type: 'succeeded', output, usage, evidence: evidenceOf(ended) };
}

const isElsewhere = (item: unknown): boolean => {
  const { b64_json: b64, url } = Object(item) as Record<string, unknown>;
  return typeof b64 !== 'string' && typeof url === 'string' && !url.startsWith('data:');
};

const DATA_URL = /^data:[\w./+-]*;base64,/;

/** Null: no image, or one that was cut off. */
function imageOf(item: unknown): ImageOutput | null {
  const { b64_json: b64, url, revised_prompt: revised, seed } = Object(item) as Record<string, unknown>;
  const text = typeof b64 === 'string' ? b64 : typeof url === 'string' ? url : '';
  const bytes = Buffer.from(text.slice(DATA_URL.exec(text)?.[0].length ?? 0), 'base64');
  const picture = pictureOf(bytes);
  if (!picture || !isWhole(bytes, picture)) return null;
  return {
    bytes,
    ...picture,
    seed: Number.isSafeInteger(seed) ? (seed as number) : null,
    revisedPrompt: typeof revised === 'string' ? revised : null,
  };
}
