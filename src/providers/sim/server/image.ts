// POST /v1/images/generations
import { landscape } from '../draw/landscape.ts';
import { pngFile } from '../draw/png.ts';
import { hash } from '../draw/random.ts';
import { type Answer, invalid, SimError, wholeNumber, type Work } from './answer.ts';

const MOST_IMAGES = 10;
const MIN_SIDE = 64;
const MAX_SIDE = 1024;

interface Order {
  prompt: string;
  n: number;
  width: number;
  height: number;
  seed: number;
}

/** Images beyond the first have the seeds that follow. Without a seed the prompt gives one. @throws SimError 400 */
export function imageWork(body: Record<string, unknown>): Work {
  const { prompt, response_format: format } = body;
  if (typeof prompt !== 'string' || prompt === '') throw invalid('prompt must be a text that is not empty.');
  if (format !== undefined && format !== 'b64_json') throw invalid('response_format must be b64_json.');
  const order: Order = {
    prompt,
    n: wholeNumber(body.n, 'n', { min: 1, max: MOST_IMAGES, fallback: 1 }),
    ...sides(body.size),
    seed: wholeNumber(body.seed, 'seed', { min: -(2 ** 53) + 1, max: 2 ** 53 - 1, fallback: hash(prompt) }),
  };
  return {
    kind: 'image',
    weight: 200 + prompt.length * 2,
    answer: (usageTimes) => draw(order, usageTimes),
    events: null,
  };
}

function sides(size: unknown): { width: number; height: number } {
  const match = /^(\d{1,4})x(\d{1,4})$/.exec(
    typeof size === 'string' ? size : size === undefined || size === null ? '512x512' : '',
  );
  const [width = 0, height = 0] = match?.slice(1).map(Number) ?? [];
  if (Math.min(width, height) < MIN_SIDE || Math.max(width, height) > MAX_SIDE) {
    throw new SimError(
      400,
      'invalid_size',
      `size must be <width>x<height>, each from ${MIN_SIDE} to ${MAX_SIDE}.`,
    );
  }
  return { width, height };
}

async function draw({ n, seed, ...rest }: Order, usageTimes: number): Promise<Answer> {
  const data: object[] = [];
  for (let i = 0; i < n; i++) {
    const png = await pngFile(landscape({ ...rest, seed: seed + i }));
    data.push({ b64_json: png.toString('base64'), seed: seed + i });
  }
  const body = JSON.stringify({
    created: Math.floor(Date.now() / 1000),
    data,
    usage: { images: n * usageTimes },
  });
  return { contentType: 'application/json', body };
}
