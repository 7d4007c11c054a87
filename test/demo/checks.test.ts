// The demo's judgement, on what it might have received: everything right, and one thing wrong at a time.
import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findWrong, type Received } from '../../demo/checks.ts';
import { FILES, type Name, type Ran } from '../../demo/jobs.ts';
import type { Job, MillraceEvent } from '../../packages/client/src/index.ts';
import { pngFile } from '../../src/providers/sim/draw/png.ts';

const SENTENCE = 'The wheel turns.';
const GIVEN = 1_000;

const job = (credits: number): Job =>
  ({
    id: 'job_1',
    model: 'sim/chat',
    status: 'succeeded',
    output: null,
    error: null,
    hold: { credits: credits + 5, usd: '0' },
    cost: { credits, usd: '0' },
    created_at: '2026-11-20T12:00:00.000Z',
    started_at: '2026-11-20T12:00:00.010Z',
    ended_at: '2026-11-20T12:00:01.000Z',
    links: { self: '/v1/jobs/job_1' },
  }) as Job;

/** Its last event, as any channel brings it. */
const ended = ({ id, status, cost, output }: Job): MillraceEvent => ({
  id: 'ev_1',
  object: 'event',
  type: 'job.succeeded',
  timestamp: '2026-11-20T12:00:01.000Z',
  api_version: 'v1',
  livemode: true,
  account_id: 'acc_1',
  sequence: 2,
  data: { id, status, cost, output, links: { self: 'https://host/v1/jobs/job_1' } },
});

function artifact(content: Buffer): NonNullable<Ran['artifact']> {
  return {
    id: 'art_1',
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    content,
  };
}

function wav(samples: number): Buffer {
  const content = Buffer.alloc(44 + samples * 2);
  content.write('RIFF', 0);
  content.writeUInt32LE(content.length - 8, 4);
  content.write('WAVEfmt ', 8);
  content.write('data', 36);
  content.writeUInt32LE(samples * 2, 40);
  return content;
}

let picture: Buffer;
let lowPicture: Buffer;
beforeAll(async () => {
  const draw = (width: number, height: number) =>
    pngFile({ width, height, rgb: Buffer.alloc(width * height * 3) });
  picture = await draw(512, 512);
  lowPicture = await draw(512, 511);
});

/** Everything as it should be. */
function allRight(): Received {
  const ran = (name: Name, cost: number, made: Partial<Ran>): Ran => {
    const told = ended(job(cost));
    const nothing = { heard: '', text: null, artifact: null, balanceAfter: 0 };
    return { name, job: job(cost), engine: 'sim', told, webhook: structuredClone(told), ...nothing, ...made };
  };
  const made: Ran[] = [
    ran('chat', 7, { heard: 'It grinds.', text: 'It grinds.' }),
    ran('image', 50, { artifact: artifact(picture) }),
    ran('speech', 16, { artifact: artifact(wav(100)) }),
    ran('transcript', 3, { text: SENTENCE }),
  ];
  return {
    given: GIVEN,
    sentence: SENTENCE,
    errorsMax: 0,
    ran: made,
    webhooks: { refused: 0 },
    files: new Map(
      made.map((ran) => [FILES[ran.name], ran.artifact?.content ?? Buffer.from(ran.text ?? '')]),
    ),
    balance: { available: 924, held: 0 },
    audit: { ok: true, breaches: [] },
  };
}

describe('findWrong', () => {
  let received: Received;
  const ran = (name: Name): Ran => received.ran.find((one) => one.name === name) as Ran;
  /** As if that had been made, and written down. */
  const make = (name: Name, content: Buffer): void => {
    ran(name).artifact = artifact(content);
    (received.files as Map<string, Buffer>).set(FILES[name], content);
  };
  const forget = (file: string): void => void (received.files as Map<string, Buffer>).delete(file);
  beforeEach(() => {
    received = allRight();
  });

  it('finds nothing where all is right', () => {
    expect(findWrong(received)).toEqual([]);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'a balance one too high',
      () => (received.balance.available += 1),
      /^balance: 925 credits are left, but .* 924$/,
    ],
    ['a balance one too low', () => (received.balance.available -= 1), /^balance: 923 credits/],
    [
      'a cost one too high',
      () => (ran('image').job.cost = { credits: 51, usd: '0' }),
      /^image: the WebSocket told another cost|^balance: 924 .* 1000 less 77 are 923$/,
    ],
    ['credits still held', () => (received.balance.held = 1), /^balance: 1 credits are still held$/],
    [
      'a cost above the hold',
      () => (ran('chat').job.hold = { credits: 6, usd: '0' }),
      /^chat: it cost 7 .* 6 were held/,
    ],
    [
      'a wrong word',
      () => say('transcript', 'The wheel burns.'),
      /^transcript: "The wheel burns\." was heard/,
    ],
    ['another case', () => say('transcript', SENTENCE.toLowerCase()), /^transcript: /],
    ['a trailing blank', () => say('transcript', `${SENTENCE} `), /^transcript: /],
    ['no transcript', () => received.ran.pop(), /^(transcript: there was nothing|balance: )/],
    ['a chat without words', () => say('chat', ''), /^chat: it says nothing/],
    [
      'a word lost on the way',
      () => (ran('chat').heard = 'It .'),
      /^chat: the words that streamed in are not/,
    ],
    [
      'a missing picture',
      () => (ran('image').artifact = null),
      /^image: (the artifact is missing|image.png is not)/,
    ],
    ['a picture of another size', () => make('image', lowPicture), /^image: the PNG is 512 x 511/],
    ['a picture that is none', () => make('image', wav(100)), /^image: the artifact is no PNG/],
    ['a picture cut off', () => make('image', picture.subarray(0, -20)), /^image: the PNG is cut off/],
    [
      'a missing sound',
      () => (ran('speech').artifact = null),
      /^speech: (the artifact is missing|speech.wav is not)/,
    ],
    ['a sound that is none', () => make('speech', picture), /^speech: the artifact is no WAV/],
    [
      'a sound cut off',
      () => make('speech', wav(100).subarray(0, -2)),
      /^speech: the WAV says it has 244 bytes, and has 242/,
    ],
    [
      'bytes that are not the announced',
      () => ((ran('speech').artifact as { sha256: string }).sha256 = '0'),
      /^speech: .*SHA-256/,
    ],
    [
      'a length that is not the announced',
      () => ((ran('image').artifact as { bytes: number }).bytes -= 1),
      /^image: the artifact has/,
    ],
    ['a file that is missing', () => forget('image.png'), /^image: image\.png is missing/],
    [
      'a file that is another',
      () => (received.files as Map<string, Buffer>).set('chat.txt', Buffer.from('?')),
      /^chat: chat\.txt is not/,
    ],
    [
      'a job that failed',
      () =>
        (ran('chat').job = {
          ...job(7),
          status: 'failed',
          error: { code: 'internal', message: 'Oh', retryable: true, details: {} },
        }),
      /^chat: the job failed: Oh \(internal\)/,
    ],
    [
      'a breach',
      () => (received.audit = { ok: false, breaches: [{ invariant: 'I4', subject: 'acc_1', what: 'off' }] }),
      /^audit: I4 acc_1: off/,
    ],
    ['an end that was not told', () => (ran('chat').told = null), /^chat: (its end was not|its webhook)/],
    [
      'an end that was told otherwise',
      () => ((ran('image').told as MillraceEvent).data['status'] = 'failed'),
      /^image: (the WebSocket told another status|its webhook is not)/,
    ],
    ['a webhook that did not come', () => (ran('speech').webhook = null), /^speech: no webhook told/],
    [
      'a webhook that says otherwise',
      () => ((ran('speech').webhook as MillraceEvent).sequence = 3),
      /^speech: its webhook is not what/,
    ],
    ['a webhook that nobody signed', () => (received.webhooks = { refused: 1 }), /^webhooks: 1 came/],
    ['an audit that says no more', () => (received.audit.ok = false), /^audit: the books are not right/],
  ])('names %s', (_what, spoil, line) => {
    spoil();
    const wrong = findWrong(received);
    expect(wrong.length).toBeGreaterThan(0);
    for (const one of wrong) expect(one).toMatch(line);
  });

  it('lets real engines mishear some words, and no more', () => {
    received.errorsMax = 0.4;
    say('transcript', 'the wheel burns');
    expect(findWrong(received)).toEqual([]);
    say('transcript', 'the veal burns');
    expect(findWrong(received)).toEqual([expect.stringMatching(/^transcript: "the veal burns" was heard/)]);
  });

  it('asks for no webhooks where none can come', () => {
    received.webhooks = null;
    for (const one of received.ran) one.webhook = null;
    expect(findWrong(received)).toEqual([]);
  });

  function say(name: Name, text: string): void {
    ran(name).text = text;
    if (name === 'chat') ran(name).heard = text;
    (received.files as Map<string, Buffer>).set(FILES[name], Buffer.from(text));
  }
});
