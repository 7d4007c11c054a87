// Bodies that mean harm, or just go wrong: each is refused in the right words, leaves nothing, and hurts no neighbour.
import { Readable } from 'node:stream';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/domain/errors.ts';
import { type Answer, chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { CANARY, countRows, expectErrorBody, expectRefusal, leavesNothing } from '../support/refusal.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  // No worker: what is admitted stays where it is, and nobody else writes.
  millrace = await startPlatform({ worker: false });
  account = await millrace.account({ overrides: { line_length: 5_000 } });
});
afterAll(() => millrace.stop());

const JSON_HEADERS = { 'content-type': 'application/json' };
const post = (path: string, body: string | Buffer): Promise<Answer> => account.post(path, body, JSON_HEADERS);
/** A good submission as text, with something done to it. */
const text = (change: (good: string) => string = (good) => good): string =>
  change(JSON.stringify(chat(CANARY, {})));
const withContent = (content: string): string => text((good) => good.replace(`"${CANARY}"`, content));
const withMember = (member: string): string => text((good) => good.replace('{', `{${member},`));
const inInput = (member: string): string => text((good) => good.replace('"input":{', `"input":{${member},`));

/** By what is wrong: a submission that no JSON reader of ours may let in. */
const NO_JSON: Record<string, string | Buffer> = {
  'a NUL in a text': withContent(String.raw`"${CANARY}\u0000"`),
  'a NUL in a key': inInput(String.raw`"a\u0000b":1`),
  'a NUL in the metadata': withMember(String.raw`"metadata":{"k":"\u0000"}`),
  'a NUL in a key of the metadata': withMember(String.raw`"metadata":{"\u0000":"v"}`),
  'a NUL in end_user': withMember(String.raw`"end_user":"\u0000"`),
  'a NUL as a byte': withContent(`"${CANARY}\0"`),
  'a high surrogate alone': withContent(String.raw`"\ud800 ${CANARY}"`),
  'a low surrogate alone': withContent(String.raw`"\udc00"`),
  'surrogates the wrong way round': withContent(String.raw`"\udc00\ud800"`),
  'a lone surrogate in a key': inInput(String.raw`"\ud800":1`),
  'a lone surrogate in the metadata': withMember(String.raw`"metadata":{"k":"\udfff"}`),
  'a lone surrogate in a key of the metadata': withMember(String.raw`"metadata":{"\udfff":"v"}`),
  'a lone surrogate in end_user': withMember(String.raw`"end_user":"\ud83d"`),
  'bytes that are not UTF-8': Buffer.from(withContent(`"${CANARY} \u00ff"`), 'latin1'),
  'a surrogate as UTF-8 bytes': Buffer.concat([
    Buffer.from('{"model":"sim/chat","input":{"x":"'),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.from('"}}'),
  ]),
  'a number beyond all numbers': inInput('"x":1e200000'),
  'the same below zero': inInput('"x":-1e400'),
  'lists 100,000 deep': inInput(`"x":${'['.repeat(100_000)}${']'.repeat(100_000)}`),
  'objects 100,000 deep': inInput(`"x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
  'lists 100,000 deep that never end': `{"input":${'['.repeat(100_000)}`,
  '65 levels': inInput(`"x":${'['.repeat(63)}1${']'.repeat(63)}`),
  '10,001 keys': inInput(`"x":{${Array.from({ length: 10_001 }, (_, i) => `"k${i}":0`).join()}}`),
  'a key twice': withMember('"model":"sim/chat"'),
  'a key twice in the input': inInput('"messages":[]'),
  'the same key in two spellings': withMember(String.raw`"mod\u0065l":"sim/image"`),
  __proto__: withMember('"__proto__":{"admin":true}'),
  '__proto__ in the input': inInput('"__proto__":{}'),
  '__proto__ in the metadata': withMember('"metadata":{"__proto__":"x"}'),
  '__proto__ in disguise': inInput(String.raw`"\u005f\u005fproto\u005f\u005f":{}`),
  'a byte order mark': `\uFEFF${text()}`,
  nothing: '',
  'a space': ' ',
  'half of it': text((good) => good.slice(0, good.length / 2)),
  'a word more': `${text()} true`,
  'a comma too many': text((good) => good.replace(/}$/, ',}')),
  'single quotes': "{'model':'sim/chat'}",
  'a comment': `/* ${CANARY} */ ${text()}`,
  NaN: inInput('"x":NaN'),
  Infinity: inInput('"x":-Infinity'),
  'an octal number': inInput('"x":017'),
  'a tab in a text': withContent('"a\tb"'),
};

/** By what is wrong: a submission that reads well and says what it may not, with the code it is refused by. */
const NO_JOB: Record<string, [ErrorCode, unknown]> = {
  null: ['invalid_request', null],
  'a list': ['invalid_request', [chat()]],
  'a text': ['invalid_request', CANARY],
  'no model': ['invalid_request', { input: chat()['input'] }],
  'a model that is no name': ['invalid_request', { ...chat(), model: 7 }],
  'a model that is none': ['model_not_found', { ...chat(CANARY), model: 'sim/chatt' }],
  'the name of a method': ['model_not_found', { ...chat(CANARY), model: 'constructor' }],
  'no input': ['invalid_request', { model: 'sim/chat' }],
  'an input that is a text': ['invalid_request', { model: 'sim/chat', input: CANARY }],
  'messages that are a text': [
    'invalid_request',
    { model: 'sim/chat', input: { messages: 'kanarienvogel' } },
  ],
  'messages without one': ['invalid_request', { model: 'sim/chat', input: { messages: [] } }],
  'a message that is a text': ['invalid_request', { model: 'sim/chat', input: { messages: [CANARY] } }],
  'an unknown field': ['invalid_request', { ...chat(CANARY), wehbook: CANARY }],
  'an unknown field with a long name': ['invalid_request', { ...chat(CANARY), [CANARY.repeat(9_000)]: 1 }],
  'an unknown field of an image': [
    'invalid_request',
    { model: 'sim/image', input: { prompt: CANARY, sice: 1 } },
  ],
  'a kind that is none': ['invalid_request', { ...chat(), kind: 'video' }],
  'another kind': ['kind_mismatch', { ...chat(), kind: 'image' }],
  'a priority that is none': ['invalid_request', { ...chat(), priority: 'urgent' }],
  'max_credits below zero': ['invalid_request', { ...chat(), max_credits: -1 }],
  'max_credits in halves': ['invalid_request', { ...chat(), max_credits: 0.5 }],
  'max_credits as a text': ['invalid_request', { ...chat(), max_credits: '10' }],
  'a bound of none': ['invalid_request', chat(CANARY, { max_tokens: 0 })],
  'a bound beyond all': ['invalid_request', chat(CANARY, { max_tokens: 1e300 })],
  'a bound in halves': ['invalid_request', chat(CANARY, { max_completion_tokens: 1.5 })],
  'choices beyond all': ['invalid_request', chat(CANARY, { n: 129 })],
  'an expiry of none': ['invalid_request', { ...chat(), expires_in: 0 }],
  'an expiry beyond all numbers of a clock': ['invalid_request', { ...chat(), expires_in: 1e300 }],
  'an expiry in two days': ['invalid_request', { ...chat(), expires_in: 172_800 }],
  'a deadline in two days': ['invalid_request', { ...chat(), deadline: new Date(Date.now() + 172_800_000) }],
  'a deadline in the year 9999': ['invalid_request', { ...chat(), deadline: '9999-12-31T23:59:59Z' }],
  'a deadline in the year 0': ['invalid_request', { ...chat(), deadline: '0000-01-01T00:00:00Z' }],
  'a deadline on a day that is none': ['invalid_request', { ...chat(), deadline: '2027-02-29T00:00:00Z' }],
  'a deadline in a leap second': ['invalid_request', { ...chat(), deadline: '2026-12-31T23:59:60Z' }],
  'a deadline without an offset': ['invalid_request', { ...chat(), deadline: '2026-12-31T23:59:59' }],
  'a deadline as a number': ['invalid_request', { ...chat(), deadline: 1_795_000_000 }],
  'a deadline that has passed': ['deadline_unreachable', { ...chat(), deadline: '2020-01-01T00:00:00Z' }],
  'a deadline and an expiry': [
    'invalid_request',
    { ...chat(), deadline: '2030-01-01T00:00:00Z', expires_in: 60 },
  ],
  'metadata with 51 keys': [
    'invalid_request',
    { ...chat(), metadata: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, CANARY])) },
  ],
  'metadata with a key of 41 characters': [
    'invalid_request',
    { ...chat(), metadata: { ['k'.repeat(41)]: CANARY } },
  ],
  'metadata with a key of none': ['invalid_request', { ...chat(), metadata: { '': CANARY } }],
  'metadata with a value of 501 characters': [
    'invalid_request',
    { ...chat(), metadata: { k: CANARY.padEnd(501) } },
  ],
  'metadata with a number': ['invalid_request', { ...chat(), metadata: { k: 7 } }],
  'metadata with an object behind a key with a line break': [
    'invalid_request',
    { ...chat(), metadata: { 'a\nb': { deep: CANARY } } },
  ],
  'metadata that is a list': ['invalid_request', { ...chat(), metadata: [CANARY] }],
  'metadata that is null': ['invalid_request', { ...chat(), metadata: null }],
  'an end_user of none': ['invalid_request', { ...chat(), end_user: '' }],
  'an end_user of 257 characters': ['invalid_request', { ...chat(), end_user: CANARY.padEnd(257) }],
  'a prompt of none': ['invalid_request', { model: 'sim/image', input: { prompt: '' } }],
  'a size that is none': ['invalid_request', { model: 'sim/image', input: { prompt: CANARY, size: '1x1' } }],
  'a size beyond all': [
    'invalid_request',
    { model: 'sim/image', input: { prompt: CANARY, size: '99999x99999' } },
  ],
  'five images': ['invalid_request', { model: 'sim/image', input: { prompt: CANARY, n: 5 } }],
  'a seed beyond 32 bits': [
    'invalid_request',
    { model: 'sim/image', input: { prompt: CANARY, seed: 2 ** 32 } },
  ],
  'an edit': ['input_unsupported', { model: 'sim/image', input: { prompt: CANARY, artifact: 'art_x' } }],
  'too long a text to speak': [
    'input_too_long',
    { model: 'sim/tts', input: { input: CANARY.padEnd(4_097) } },
  ],
  'nothing to hear': ['invalid_request', { model: 'sim/stt', input: {} }],
  'two things to hear': ['invalid_request', { model: 'sim/stt', input: { artifact: 'a', audio: 'AAAA' } }],
  'audio that is no base64': ['invalid_request', { model: 'sim/stt', input: { audio: `${CANARY}!` } }],
  'audio by a URL that is refused': [
    'input_unreachable',
    { model: 'sim/stt', input: { url: 'http://127.0.0.1/' } },
  ],
  'an artifact that is none': ['not_found', { model: 'sim/stt', input: { artifact: CANARY } }],
  'a fault that is none': ['invalid_request', chat(CANARY, { sim: { fault: CANARY } })],
  'a price above max_credits': ['cost_over_max', { ...chat(CANARY), max_credits: 1 }],
};

describe('a submission that is no JSON we take', () => {
  leavesNothingInAll();

  it.each(Object.entries(NO_JSON))('%s', async (_, body) => {
    expectRefusal(await post('/v1/jobs', body), 'invalid_json');
    expectRefusal(await post('/v1/jobs?dry_run=true', body), 'invalid_json');
  });
});

describe('bodies of other routes', () => {
  it('are refused just the same', async () => {
    const { id } = (await upload()).body;
    const routes: [string, (body: string) => Promise<Answer>][] = [
      ['POST', (body) => post(`/v1/artifacts/${id}/links`, body)],
      ['POST', (body) => millrace.admin.post('/v1/admin/accounts', body, JSON_HEADERS)],
      ['PUT', (body) => millrace.admin.send('PUT', '/v1/admin/models/x', { body, headers: JSON_HEADERS })],
    ];
    await leavesNothing(millrace, async () => {
      for (const [, send] of routes) {
        expectRefusal(await send(String.raw`{"name":"\u0000"}`), 'invalid_json');
        expectRefusal(await send('{"a":1e999}'), 'invalid_json');
        expectRefusal(await send('{"__proto__":{}}'), 'invalid_json');
        expectRefusal(await send('{"expires_in_s":900,"expires_in_s":900}'), 'invalid_json');
      }
    });
  });
});

describe('a submission that is no job', () => {
  leavesNothingInAll();

  it.each(Object.entries(NO_JOB))('%s', async (_, [code, body]) => {
    expectRefusal(await post('/v1/jobs', JSON.stringify(body)), code);
  });

  it('is told where the fault lies, and what was expected', async () => {
    const { body } = await account.post('/v1/jobs', chat(CANARY, { max_tokens: 'many' }));
    expect(body.details.issues).toEqual([
      {
        path: 'input.max_tokens',
        message: 'must be a whole number',
        expected: 'integer',
        received: 'a text of 4 characters',
      },
    ]);
    const { body: enumerated } = await account.post('/v1/jobs', { ...chat(), priority: 'urgent' });
    expect(enumerated.details.issues[0]).toMatchObject({
      path: 'priority',
      expected: ['high', 'normal', 'low'],
      received: 'urgent',
    });
  });
});

describe('a submission', () => {
  it('may hold what only looks bad', async () => {
    const good = [
      String.raw`"\ud83d\ude00 \u00e9"`,
      '"😀 𐏿 \u{10ffff} \ufffe"',
      String.raw`"\\u0000 is a way to write NUL"`,
      '"constructor, prototype"',
    ];
    for (const content of good) expect((await post('/v1/jobs', withContent(content))).status).toBe(202);
    const odd = {
      ...chat(),
      metadata: { 'a\nb': 'x', ['ключ'.repeat(10)]: '😀'.repeat(500), constructor: '' },
    };
    const { status, body } = await account.post('/v1/jobs', odd);
    expect(status).toBe(202);
    expect(body.metadata).toEqual(odd.metadata);
  });
});

describe('a body that is too large', () => {
  it('is refused above 4 MiB, whether or not it says so beforehand', async () => {
    const body = withContent(JSON.stringify('x'.repeat(4 << 20)));
    await leavesNothing(millrace, async () => {
      const told = await post('/v1/jobs', body);
      expectRefusal(told, 'body_too_large');
      expect(told.body.details).toEqual({ max_bytes: 4 << 20 });
      const chunks = Array.from({ length: 24 }, (_, i) => Buffer.alloc(1 << 20, i === 0 ? '{' : ' '));
      const untold = await request(`${millrace.url}/v1/jobs`, {
        method: 'POST',
        headers: { ...JSON_HEADERS, authorization: `Bearer ${account.key}` },
        body: Readable.from(chunks),
      });
      expect(untold.statusCode).toBe(413);
      expect(await untold.body.json()).toMatchObject({ code: 'body_too_large' });
    });
  });

  it('is taken just below 4 MiB, and kept in storage', async () => {
    const size = (4 << 20) - text().length;
    // Longer than the model's context, and so refused for what it is.
    expectRefusal(await post('/v1/jobs', withContent(JSON.stringify('x'.repeat(size)))), 'input_too_large');
    const long = withContent(JSON.stringify(CANARY.padEnd(200_000)));
    const answer = await post('/v1/jobs', long);
    expect(answer.status).toBe(202);
    expect(answer.body.input.messages[0].content).toHaveLength(200_000);
  });

  it('is refused above 16 MiB for a batch', async () => {
    const batch = (bytes: number): string =>
      `{"jobs":[${text()},{"model":"sim/chat","input":{"x":"${'x'.repeat(bytes)}"}}]}`;
    await leavesNothing(millrace, async () => {
      expectRefusal(await post('/v1/jobs/batch', batch(16 << 20)), 'body_too_large');
    });
    const { status, body } = await post('/v1/jobs/batch', batch(8 << 20));
    expect(status).toBe(200);
    expect(body.data.map((item: { status: number }) => item.status)).toEqual([202, 400]);
  });
});

describe('a batch', () => {
  it('admits its good items and refuses each of its bad ones by itself', async () => {
    const bad: [ErrorCode, string | Buffer][] = [
      ...Object.entries(NO_JSON)
        .filter(([name]) => !BREAKS_THE_LIST.has(name))
        .map(([, body]): [ErrorCode, string | Buffer] => ['invalid_json', body]),
      ...Object.values(NO_JOB).map(([code, body]): [ErrorCode, string] => [code, JSON.stringify(body)]),
    ];
    expect(bad.length).toBeGreaterThan(80);
    const items = bad.flatMap(([, body], i) => [
      Buffer.from(JSON.stringify({ ...chat(`good ${i}`), metadata: { place: String(i) } })),
      Buffer.from(body),
    ]);
    const bytes = Buffer.concat([
      Buffer.from('{"jobs":['),
      ...items.flatMap((item, i) => (i === 0 ? [item] : [Buffer.from(','), item])),
      Buffer.from(']}'),
    ]);
    const before = await countRows(millrace);
    const { status, body } = await post('/v1/jobs/batch', bytes);
    expect(status, JSON.stringify(body).slice(0, 500)).toBe(200);
    expect(body.data).toHaveLength(items.length);
    for (const [index, item] of body.data.entries()) {
      expect(item.index).toBe(index);
      if (index % 2 === 0) {
        expect(item, `the good item ${index}`).toMatchObject({
          status: 202,
          job: { metadata: { place: String(index / 2) } },
        });
      } else {
        const [code] = bad[(index - 1) / 2] as [ErrorCode, unknown];
        expect(item.error, JSON.stringify(item).slice(0, 1_000)).toMatchObject({ code });
        expect(item.status).toBe(item.error.statusCode);
        expectErrorBody(item.error, code);
      }
    }
    const after = await countRows(millrace);
    for (const table of ['jobs', 'events', 'ledger_transactions'])
      expect(after[table], table).toBe((before[table] ?? 0) + bad.length);
    const { body: me } = await account.get('/v1/account');
    const [held] = await millrace.sql<{ sum: string }>('select sum(hold) from jobs where account_id = $1', [
      account.id,
    ]);
    expect(me.balance.held.credits).toBe(Number(held?.sum));
  });

  it('says where in the body an item went wrong', async () => {
    const first = JSON.stringify(chat());
    const body = `{"jobs":[${first},{"model":"sim/chat","input":{"x":1e999}}]}`;
    const { body: answer } = await post('/v1/jobs/batch', body);
    expect(answer.data[0].status).toBe(202);
    expect(answer.data[1].error.details).toEqual({ offset: body.indexOf('1e999') });
  });

  it.each([
    ['is no object', '[]', 'invalid_request'],
    ['has no jobs', '{}', 'invalid_request'],
    ['has jobs that are no list', '{"jobs":{}}', 'invalid_request'],
    ['has none', '{"jobs":[]}', 'invalid_request'],
    ['has 1,001', `{"jobs":[${'{},'.repeat(1_000)}{}]}`, 'invalid_request'],
    ['has a field we do not know', '{"jobs":[{}],"atomic":true}', 'invalid_request'],
    ['is not sure whether all or nothing', '{"jobs":[{}],"all_or_nothing":"yes"}', 'invalid_request'],
    ['breaks off', `{"jobs":[${JSON.stringify(chat())},`, 'invalid_json'],
    ['breaks off in an item', `{"jobs":[${JSON.stringify(chat())},{"model":`, 'invalid_json'],
    ['lacks a comma', `{"jobs":[${JSON.stringify(chat())} ${JSON.stringify(chat())}]}`, 'invalid_json'],
    ['has its list twice', `{"jobs":[${JSON.stringify(chat())}],"jobs":[{"x":1e999}]}`, 'invalid_json'],
    ['is spoilt beside its items', `{"jobs":[${JSON.stringify(chat())}],"x":1e999}`, 'invalid_json'],
    [
      'has 100,001 keys in all',
      `{"jobs":[${JSON.stringify(chat())},{"x":{${Array.from({ length: 100_001 }, (_, i) => `"k${i}":0`).join()}}}]}`,
      null,
    ],
  ] as [string, string, ErrorCode | null][])('that %s is refused as a whole', async (_, body, code) => {
    if (code === null) {
      // One item has them all, and is refused alone.
      const { body: answer } = await post('/v1/jobs/batch', body);
      expect(answer.data.map((item: { status: number }) => item.status)).toEqual([202, 400]);
      return;
    }
    await leavesNothing(millrace, async () => expectRefusal(await post('/v1/jobs/batch', body), code));
  });

  it('that is all or nothing is nothing if one item is bad', async () => {
    const good = JSON.stringify(chat());
    await leavesNothing(millrace, async () => {
      for (const [bad, code] of [
        ['{"model":"sim/chat","input":{"x":1e999}}', 'invalid_json'],
        ['{"model":"sim/nothing","input":{}}', 'model_not_found'],
        [JSON.stringify({ ...chat(), max_credits: 1 }), 'cost_over_max'],
      ] as [string, ErrorCode][]) {
        const body = `{"all_or_nothing":true,"jobs":[${good},${bad},${good}]}`;
        expectRefusal(await post('/v1/jobs/batch', body), code);
      }
    });
  });
});

describe('neighbours', () => {
  it('in the same moment are admitted, whatever is sent between them', async () => {
    const bad = [...Object.values(NO_JSON), ...Object.values(NO_JOB).map(([, body]) => JSON.stringify(body))];
    const answers = await Promise.all(
      bad.flatMap((body, i) => [
        post('/v1/jobs', JSON.stringify(chat(`neighbour ${i}`))),
        post('/v1/jobs', body),
      ]),
    );
    expect(answers.filter((_, i) => i % 2 === 0).map(({ status }) => status)).toEqual(bad.map(() => 202));
    for (const { status, body } of answers.filter((_, i) => i % 2 === 1))
      expect(status >= 400 && status < 500, JSON.stringify(body)).toBe(true);
  });
});

/** What cannot be an item of a list: the list would end elsewhere. And what is none of its faults, by its wider limit. */
const BREAKS_THE_LIST = new Set([
  '10,001 keys',
  'lists 100,000 deep that never end',
  'nothing',
  'a space',
  'half of it',
  'a word more',
  'single quotes',
  'a comment',
  'a byte order mark',
]);

/** For all tests of a describe together. */
function leavesNothingInAll(): void {
  let before: Record<string, number>;
  beforeAll(async () => {
    before = await countRows(millrace);
  });
  afterAll(async () => {
    expect(await countRows(millrace)).toEqual(before);
  });
}

async function upload(): Promise<Answer> {
  const form = new FormData();
  form.append('file', new Blob(['bytes']), 'a.txt');
  const response = await fetch(`${millrace.url}/v1/artifacts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}` },
    body: form,
  });
  return { status: response.status, headers: {}, body: await response.json() };
}
