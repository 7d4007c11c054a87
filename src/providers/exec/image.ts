import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSize } from '../../domain/model.ts';
import { isWhole, pictureOf } from '../../domain/picture.ts';
import type { ImageInput } from '../../domain/submission.ts';
import type { CallResult, ImageOutput } from '../provider.ts';
import { evidenceOf, malformed, rejected } from './failure.ts';
import type { Ended } from './program.ts';
import { isResult, runOnce, type Work } from './work.ts';

/** Sides are whole multiples of it. */
const STEP = 64;
const SEEDS = 2 ** 32;

/** One image after the other, each with the seed that follows. */
export async function draw(work: Work): Promise<CallResult> {
  const { found, call } = work;
  const input = JSON.parse(call.input) as ImageInput;
  const size = parseSize(call.bounds.size ?? '512x512');
  if (!size || size.width % STEP !== 0 || size.height % STEP !== 0)
    return rejected(`${found.name} draws sizes whose sides are multiples of ${STEP}. Change input.size.`);
  const model = work.variant ?? [...found.variants.keys()][0] ?? '';
  const first = input.seed ?? randomInt(2 ** 31);
  const images: ImageOutput[] = [];
  let ended: Ended | CallResult | null = null;
  for (let i = 0; i < (call.bounds.n ?? 1); i++) {
    const seed = (first + i) % SEEDS;
    const values = { ...size, prompt: input.prompt, seed, model: found.variants.get(model)?.model };
    const out = `image${i}.png`;
    ended = await runOnce(work, { values, out });
    if (isResult(ended)) return ended;
    const image = imageOf(await readFile(join(work.folder, out)).catch(() => Buffer.alloc(0)), seed);
    if (!image) return malformed(ended, 'no image');
    images.push(image);
  }
  return {
    type: 'succeeded',
    output: { kind: 'image', images },
    usage: null,
    evidence: evidenceOf(ended as Ended | null),
  };
}

/** Null: no whole PNG. Its own header says how large it is, not what was asked for. */
function imageOf(bytes: Buffer, seed: number): ImageOutput | null {
  const picture = pictureOf(bytes);
  if (picture?.contentType !== 'image/png' || !isWhole(bytes, picture)) return null;
  return { bytes, ...picture, seed, revisedPrompt: null };
}
