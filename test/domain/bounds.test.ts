import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fittingBound, type KnownInput, type Worst, worstCase } from '../../src/domain/bounds.ts';
import { AppError } from '../../src/domain/errors.ts';
import type { Kind, UsageLine } from '../../src/domain/job.ts';
import type { Model, ModelData } from '../../src/domain/model.ts';
import type { Cap, PlanTerms } from '../../src/domain/plan.ts';
import { type PriceLine, priceOf } from '../../src/domain/pricing.ts';
import { promptSize } from '../../src/domain/prompt.ts';
import type { ChatInput, ImageInput, SttInput, TtsInput } from '../../src/domain/submission.ts';

const line = (
  name: UsageLine['name'],
  measure: UsageLine['measure'],
  creditsPerMillion: bigint,
): PriceLine => ({ name, measure, creditsPerMillion });

const PRICES: Record<Kind, PriceLine[]> = {
  chat: [line('token', 'input', 1_000_000n), line('token', 'output', 4_000_000n)],
  image: [line('image', 'output', 500_000_000n)],
  tts: [line('character', 'input', 10_000_000n)],
  stt: [line('millisecond', 'input', 50_000n)],
};

const modelOf = (kind: Kind, data: ModelData = {}, lines: PriceLine[] | null = PRICES[kind]): Model => ({
  id: `test/${kind}`,
  kind,
  name: kind,
  aliases: [],
  tags: ['free', 'cap512'],
  enabled: true,
  data,
  createdAt: new Date(0),
  deprecatedAt: null,
  sunsetAt: null,
  replacement: null,
  price: lines && { id: 'prv_1', lines },
  routes: [],
});

const terms = (caps: Cap[] = [], rest: Partial<PlanTerms> = {}): PlanTerms => ({
  id: 'test',
  name: 'Test',
  slots: 1,
  lineLength: 1,
  caps,
  maxAudioMs: 600_000,
  maxDeadlineS: 86_400,
  retentionDays: null,
  ...rest,
});

const HELLO = [{ role: 'user', content: 'Hello' }];
const chat = (rest: Partial<ChatInput> & Record<string, unknown> = {}): KnownInput => {
  const input = { messages: HELLO, ...rest };
  return { kind: 'chat', input, prompt: promptSize(JSON.stringify(input)) };
};
const image = (input: Partial<ImageInput> = {}): KnownInput => ({
  kind: 'image',
  input: { prompt: 'a mill', ...input },
});
const tts = (input: string): KnownInput => ({ kind: 'tts', input: { input } satisfies TtsInput });
const stt = (audioMs: number | null, input: SttInput = {}): KnownInput => ({ kind: 'stt', input, audioMs });

function refusal(act: () => Worst): AppError {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const PIECE = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };

describe('a cap of one request', () => {
  /** What is just allowed, what is just not, and how the refusal names it. */
  const boundaries: [string, Cap, Model, KnownInput, KnownInput, { field: string; max: unknown }][] = [
    [
      'output tokens',
      { cap: 'max_output_tokens', max: 512 },
      modelOf('chat'),
      chat({ max_tokens: 512 }),
      chat({ max_tokens: 513 }),
      { field: 'input.max_tokens', max: 512 },
    ],
    [
      'output tokens by their newer name',
      { cap: 'max_output_tokens', max: 512 },
      modelOf('chat'),
      chat({ max_completion_tokens: 512 }),
      chat({ max_completion_tokens: 513, max_tokens: 1 }),
      { field: 'input.max_completion_tokens', max: 512 },
    ],
    [
      'choices',
      { cap: 'image_count', max: 2 },
      modelOf('chat'),
      chat({ n: 2 }),
      chat({ n: 3 }),
      { field: 'input.n', max: 2 },
    ],
    [
      'images',
      { cap: 'image_count', max: 2 },
      modelOf('image'),
      image({ n: 2 }),
      image({ n: 3 }),
      { field: 'input.n', max: 2 },
    ],
    [
      'attachments',
      { cap: 'image_attachment', max: 1 },
      modelOf('chat', { attachment_tokens: 10 }),
      chat({ messages: [{ role: 'user', content: [PIECE] }] }),
      chat({ messages: [{ role: 'user', content: [PIECE, PIECE] }] }),
      { field: 'input.messages', max: 1 },
    ],
    [
      'width',
      { cap: 'image_size', max: '512x256' },
      modelOf('image'),
      image({ size: '512x256' }),
      image({ size: '513x256' }),
      { field: 'input.size', max: '512x256' },
    ],
    [
      'height',
      { cap: 'image_size', max: '512x256', tag: 'cap512' },
      modelOf('image'),
      image({ size: '64x256' }),
      image({ size: '64x257' }),
      { field: 'input.size', max: '512x256' },
    ],
    [
      'credits of a request',
      { cap: 'request_cost', max: 1_000 },
      modelOf('image'),
      image({ n: 2 }),
      image({ n: 3 }),
      { field: 'input', max: 1_000 },
    ],
    [
      'credits of an image',
      { cap: 'image_cost', max: 500 },
      modelOf('image'),
      image({ n: 3 }),
      image({ n: 3 }),
      { field: 'input.size', max: 500 },
    ],
  ];

  it.each(boundaries)('holds at its boundary: %s', (_, cap, model, allowed, refused, { field, max }) => {
    expect(worstCase(allowed, model, terms([cap])).hold).toBeGreaterThan(0n);
    // A price per image that is one credit too high stands for an image that costs too much.
    const dearer =
      cap.cap === 'image_cost' ? modelOf('image', {}, [line('image', 'output', 500_333_334n)]) : model;
    const error = refusal(() => worstCase(refused, dearer, terms([cap])));
    const rule = cap.cap === 'image_cost' ? 'request_cost' : cap.cap;
    expect(error).toMatchObject({ code: 'plan_cap_exceeded', status: 403, details: { rule, field, max } });
    expect(error.message).toContain(`[plan.rule:${rule}]`);
    expect(error.message).toContain(String(max));
  });

  it('of audio holds at its second', () => {
    const plan = terms([], { maxAudioMs: 60_000 });
    expect(worstCase(stt(null, { max_seconds: 60 }), modelOf('stt'), plan).bounds).toEqual({
      audio_ms: 60_000,
    });
    expect(refusal(() => worstCase(stt(null, { max_seconds: 61 }), modelOf('stt'), plan))).toMatchObject({
      code: 'plan_cap_exceeded',
      details: { rule: 'max_audio_seconds', field: 'input.max_seconds', max: 60 },
    });
    expect(worstCase(stt(60_000), modelOf('stt'), plan).bounds).toEqual({ audio_ms: 60_000 });
    expect(refusal(() => worstCase(stt(60_001), modelOf('stt'), plan))).toMatchObject({
      code: 'input_too_long',
      details: { audio_ms: 60_001, max_ms: 60_000 },
    });
  });

  it('concerns the models of its tag alone', () => {
    const cap: Cap = { cap: 'max_output_tokens', max: 1, tag: 'pro' };
    expect(worstCase(chat({ max_tokens: 9 }), modelOf('chat'), terms([cap])).bounds).toEqual({
      max_output_tokens: 9,
      n: 1,
    });
  });
});

describe('a bound that the client does not name', () => {
  it('is the smaller of the model’s default and the plan’s cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9_000 }),
        fc.option(fc.integer({ min: 1, max: 9_000 })),
        (own, cap) => {
          const model = modelOf('chat', { default_output_tokens: own });
          const plan = terms(cap === null ? [] : [{ cap: 'max_output_tokens', max: cap }]);
          expect(worstCase(chat(), model, plan).bounds.max_output_tokens).toBe(Math.min(own, cap ?? own));
        },
      ),
    );
    expect(worstCase(chat(), modelOf('chat'), terms()).bounds).toEqual({ max_output_tokens: 4096, n: 1 });
    expect(worstCase(chat({ max_tokens: null, n: null }), modelOf('chat'), terms()).bounds).toEqual({
      max_output_tokens: 4096,
      n: 1,
    });
  });

  it('is one image of the model’s size, or what of it the plan allows', () => {
    const size = (own: string | undefined, ...caps: string[]) =>
      worstCase(
        image(),
        modelOf('image', own === undefined ? {} : { default_size: own }),
        terms(caps.map((max) => ({ cap: 'image_size', max }))),
      ).bounds.size;
    expect(size(undefined)).toBe('512x512');
    expect(size('256x320')).toBe('256x320');
    expect(size('256x256', '512x512')).toBe('256x256');
    expect(size('1024x768', '512x1024')).toBe('512x768');
    expect(size('1024x1024', '512x1024', '1024x256')).toBe('512x256');
    expect(worstCase(image(), modelOf('image'), terms()).bounds.n).toBe(1);
  });

  it('is the plan’s longest audio where the audio’s length is unknown, and the audio’s where it is', () => {
    expect(worstCase(stt(null), modelOf('stt'), terms()).bounds).toEqual({ audio_ms: 600_000 });
    expect(worstCase(stt(1_234), modelOf('stt'), terms()).bounds).toEqual({ audio_ms: 1_234 });
    expect(worstCase(stt(1_234, { max_seconds: 2 }), modelOf('stt'), terms()).bounds).toEqual({
      audio_ms: 1_234,
    });
    expect(refusal(() => worstCase(stt(2_001, { max_seconds: 2 }), modelOf('stt'), terms()))).toMatchObject({
      code: 'input_too_long',
      details: { field: 'input.max_seconds', audio_ms: 2_001 },
    });
  });
});

describe('the worst case', () => {
  it('of a chat is every byte as a token, and every token that all choices may say', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 8 }),
        (content, most, n) => {
          const messages = [{ role: 'user', content }];
          const bytes = Buffer.byteLength(JSON.stringify(messages));
          const { usage, hold } = worstCase(
            chat({ messages, max_tokens: most, n }),
            modelOf('chat'),
            terms(),
          );
          expect(usage).toEqual([
            { name: 'token', measure: 'input', quantity: bytes },
            { name: 'token', measure: 'output', quantity: most * n },
          ]);
          expect(hold).toBe(BigInt(bytes + 4 * most * n));
        },
      ),
    );
  });

  it('counts tools and formats as the model will read them, and attachments by the piece', () => {
    const tools = [{ type: 'function', function: { name: 'grind' } }];
    const withTools = worstCase(chat({ tools }), modelOf('chat'), terms());
    const without = worstCase(chat(), modelOf('chat'), terms());
    expect(withTools.hold - without.hold).toBe(BigInt(JSON.stringify(tools).length));
    const model = modelOf('chat', { attachment_tokens: 700 });
    const big = { ...PIECE, image_url: { url: `data:image/png;base64,${'A'.repeat(90_000)}` } };
    const held = (part: unknown) =>
      worstCase(chat({ messages: [{ role: 'user', content: [part] }] }), model, terms()).hold;
    expect(held(big)).toBe(held(PIECE));
    expect(
      refusal(() =>
        worstCase(chat({ messages: [{ role: 'user', content: [PIECE] }] }), modelOf('chat'), terms()),
      ),
    ).toMatchObject({ code: 'input_unsupported' });
  });

  it('of speech is its characters, to the model’s longest text', () => {
    const model = modelOf('tts', { max_characters: 3 });
    expect(worstCase(tts('äö𝄞'), model, terms())).toMatchObject({ bounds: { characters: 3 }, hold: 30n });
    expect(refusal(() => worstCase(tts('abcd'), model, terms()))).toMatchObject({
      code: 'input_too_long',
      details: { max_characters: 3 },
    });
  });

  it('is refused where it has no price, or only part of one', () => {
    expect(refusal(() => worstCase(chat(), modelOf('chat', {}, null), terms()))).toMatchObject({
      code: 'price_unknown',
    });
    const half = modelOf('chat', {}, [line('token', 'input', 1_000_000n)]);
    expect(refusal(() => worstCase(chat(), half, terms()))).toMatchObject({ code: 'price_unknown' });
    const free = modelOf('chat', {}, [...(half.price?.lines ?? []), line('token', 'output', 0n)]);
    expect(worstCase(chat(), free, terms()).hold).toBe(BigInt(JSON.stringify(HELLO).length));
  });

  it('is refused where the model could not do it', () => {
    const bytes = JSON.stringify(HELLO).length;
    const reading = (tokens: number) =>
      modelOf('chat', { context_length: tokens, bytes_per_token: 0.5, default_output_tokens: 1 });
    expect(worstCase(chat(), reading(bytes * 2), terms()).hold).toBe(BigInt(bytes + 4));
    expect(refusal(() => worstCase(chat(), reading(bytes * 2 - 1), terms()))).toMatchObject({
      code: 'input_too_large',
      status: 413,
      details: { max_tokens: bytes * 2 - 1, context_length: bytes * 2 - 1 },
    });
    for (const size of ['63x512', '512x63', '1025x64', '64x1025'])
      expect(refusal(() => worstCase(image({ size }), modelOf('image'), terms()))).toMatchObject({
        code: 'invalid_request',
      });
    for (const size of ['64x64', '1024x1024', '64x1024'])
      expect(worstCase(image({ size }), modelOf('image'), terms()).bounds.size).toBe(size);
    expect(worstCase(image({ n: 4 }), modelOf('image', { max_images: 4 }), terms()).hold).toBe(2_000n);
    expect(
      refusal(() => worstCase(image({ n: 5 }), modelOf('image', { max_images: 4 }), terms())),
    ).toMatchObject({ code: 'invalid_request' });
  });
});

describe('what is sold by tokens', () => {
  const TOKENS = PRICES.chat;
  it.each([
    ['image', image({ prompt: 'ä mill', n: 3 }), { image_tokens: 272 }, [7, 816]],
    [
      'image',
      image({ prompt: 'a mill', artifact: 'art_1' }),
      { image_tokens: 272, attachment_tokens: 300 },
      [306, 272],
    ],
    ['tts', tts('Good day'), { tokens_per_character: 1.3 }, [8, 11]],
    [
      'stt',
      { kind: 'stt', input: { artifact: 'art_1', prompt: 'mill' }, audioMs: 1_500 } satisfies KnownInput,
      { input_tokens_per_second: 10, output_tokens_per_second: 5 },
      [19, 8],
    ],
  ] as const)('%s is held for the most tokens that it may be', (kind, known, data, [input, output]) => {
    const { usage, hold } = worstCase(known, modelOf(kind, data, TOKENS), terms());
    expect(usage).toEqual([
      { name: 'token', measure: 'input', quantity: input },
      { name: 'token', measure: 'output', quantity: output },
    ]);
    expect(hold).toBe(BigInt(input + 4 * output));
    expect(refusal(() => worstCase(known, modelOf(kind, {}, TOKENS), terms()))).toMatchObject({
      code: 'price_unknown',
    });
  });

  it('slow speech is held for the tokens of its length', () => {
    const slow: KnownInput = { kind: 'tts', input: { input: 'Good day', speed: 0.25 } };
    const { usage } = worstCase(slow, modelOf('tts', { tokens_per_character: 1 }, TOKENS), terms());
    expect(usage[1]).toMatchObject({ quantity: 32 });
  });

  it('fewer images are the bound that fits, at their tokens', () => {
    const model = modelOf('image', { image_tokens: 100 }, TOKENS);
    const asked = worstCase(image({ n: 4 }), model, terms());
    expect(asked.hold).toBe(6n + 1_600n);
    expect(fittingBound(asked, model, 806n)).toEqual({ n: 2 });
    expect(fittingBound(asked, model, 805n)).toEqual({ n: 1 });
    expect(fittingBound(asked, model, 405n)).toBeNull();
  });
});

describe('the bound that fits', () => {
  // Rates below a credit a unit are where rounding could go wrong; so are prices whose parts are no whole credits.
  const rate = fc.oneof(
    fc.bigInt({ min: 0n, max: 3n }),
    fc.bigInt({ min: 1n, max: 2_000_000n }),
    fc.bigInt({ min: 1n, max: 10n ** 10n }),
  );

  it('of a chat is the largest that so many credits carry', () => {
    const seen = { some: 0, none: 0 };
    fc.assert(
      fc.property(
        fc.record({
          input: rate,
          output: rate,
          most: fc.integer({ min: 1, max: 100_000 }),
          n: fc.integer({ min: 1, max: 4 }),
          promil: fc.integer({ min: 0, max: 999 }),
        }),
        ({ input, output, most, n, promil }) => {
          const model = modelOf('chat', {}, [line('token', 'input', input), line('token', 'output', output)]);
          const bounded = (max_tokens: number) => worstCase(chat({ max_tokens, n }), model, terms());
          const asked = bounded(most);
          const available = (asked.hold * BigInt(promil)) / 1000n;
          if (available >= asked.hold) return;
          const fits = fittingBound(asked, model, available);
          if (fits === null) {
            seen.none++;
            expect(bounded(1).hold > available).toBe(true);
            return;
          }
          seen.some++;
          const tokens = fits.max_output_tokens ?? 0;
          expect(tokens).toBeLessThan(most);
          expect(bounded(tokens).hold <= available).toBe(true);
          expect(bounded(tokens + 1).hold > available).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(Math.min(seen.some, seen.none)).toBeGreaterThan(50);
  });

  it('of images is the largest number that so many credits carry', () => {
    fc.assert(
      fc.property(
        rate,
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 0, max: 999 }),
        (each, n, promil) => {
          const model = modelOf('image', {}, [line('image', 'output', each)]);
          const numbered = (n: number) => worstCase(image({ n }), model, terms());
          const asked = numbered(n);
          const available = (asked.hold * BigInt(promil)) / 1000n;
          if (available >= asked.hold) return;
          const fits = fittingBound(asked, model, available);
          if (fits === null) {
            expect(numbered(1).hold > available).toBe(true);
            return;
          }
          expect(numbered(fits.n ?? 0).hold <= available).toBe(true);
          expect(numbered((fits.n ?? 0) + 1).hold > available).toBe(true);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('is none where the input alone costs too much, or where nothing can be lowered', () => {
    expect(
      fittingBound(worstCase(chat({ max_tokens: 10 }), modelOf('chat'), terms()), modelOf('chat'), 3n),
    ).toBeNull();
    expect(fittingBound(worstCase(tts('hello'), modelOf('tts'), terms()), modelOf('tts'), 40n)).toBeNull();
  });

  it('is the last one that can be had, down to a single token and a single image', () => {
    const asked = worstCase(chat({ max_tokens: 10 }), modelOf('chat'), terms());
    const prompt = asked.hold - 40n;
    expect(fittingBound(asked, modelOf('chat'), prompt + 4n)).toEqual({ max_output_tokens: 1 });
    expect(fittingBound(asked, modelOf('chat'), prompt + 3n)).toBeNull();
    const images = worstCase(image({ n: 3 }), modelOf('image'), terms());
    expect(fittingBound(images, modelOf('image'), 500n)).toEqual({ n: 1 });
    expect(fittingBound(images, modelOf('image'), 499n)).toBeNull();
  });

  it('prices as hold and capture do', () => {
    const { usage, hold } = worstCase(chat({ max_tokens: 7 }), modelOf('chat'), terms());
    expect(priceOf(PRICES.chat, usage)).toBe(hold);
  });
});
