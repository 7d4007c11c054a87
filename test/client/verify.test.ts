import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { SignatureError, verify } from '../../packages/client/src/index.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const OTHER = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
const BODY = JSON.stringify({ id: 'ev_1', type: 'job.succeeded', data: { text: 'Grüße 🌊' } });

/** As the reference library signs. */
function signed(body = BODY, { secret = SECRET, at = new Date() } = {}) {
  return {
    'webhook-id': 'ev_1',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign('ev_1', at, body),
  };
}

describe('verify', () => {
  it('takes what the reference library signed, as text and as bytes', async () => {
    expect(await verify(BODY, signed(), SECRET)).toEqual(JSON.parse(BODY));
    expect(await verify(Buffer.from(BODY), new Headers(signed()), SECRET)).toEqual(JSON.parse(BODY));
  });

  it('finds its headers however a server hands them on', async () => {
    const upper = Object.entries(signed()).map(([name, value]) => [name.toUpperCase(), [value]]);
    expect(await verify(BODY, Object.fromEntries(upper), SECRET)).toBeTruthy();
    const headers = new Map(Object.entries(signed()));
    // A Headers of another realm or library.
    const foreign = { get: (name: string) => headers.get(name) ?? null };
    expect(await verify(BODY, foreign, SECRET)).toBeTruthy();
  });

  it('takes either secret during a rotation, and two signatures', async () => {
    const both = { ...signed(), 'webhook-signature': '' };
    both['webhook-signature'] = [OTHER, SECRET]
      .map((secret) =>
        new Webhook(secret).sign('ev_1', new Date(Number(both['webhook-timestamp']) * 1000), BODY),
      )
      .join(' ');
    for (const secret of [SECRET, OTHER, [OTHER, SECRET]])
      expect(await verify(BODY, both, secret)).toBeTruthy();
    expect(await verify(BODY, signed(), [OTHER, SECRET])).toBeTruthy();
  });

  it.each<[string, () => Promise<unknown>]>([
    ['another secret', () => verify(BODY, signed(), OTHER)],
    ['another id', () => verify(BODY, { ...signed(), 'webhook-id': 'ev_2' }, SECRET)],
    ['five minutes late', () => verify(BODY, signed(BODY, { at: new Date(Date.now() - 301_000) }), SECRET)],
    ['five minutes early', () => verify(BODY, signed(BODY, { at: new Date(Date.now() + 301_000) }), SECRET)],
    [
      'a new time under an old signature',
      () =>
        verify(
          BODY,
          {
            ...signed(BODY, { at: new Date(0) }),
            'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
          },
          SECRET,
        ),
    ],
    ['no signature', () => verify(BODY, { ...signed(), 'webhook-signature': '' }, SECRET)],
    [
      'a signature of another kind',
      () =>
        verify(
          BODY,
          { ...signed(), 'webhook-signature': signed()['webhook-signature'].replace('v1,', 'v2,') },
          SECRET,
        ),
    ],
    ['no base64', () => verify(BODY, { ...signed(), 'webhook-signature': 'v1,§' }, SECRET)],
    ['a time that is none', () => verify(BODY, { ...signed(), 'webhook-timestamp': 'NaN' }, SECRET)],
  ])('refuses %s', async (_, verifying) => {
    await expect(verifying()).rejects.toThrow(SignatureError);
  });

  it('refuses a body of which any byte was changed', async () => {
    const bytes = Buffer.from(BODY);
    const headers = signed();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const changed = Buffer.from(bytes);
        changed[at] = ((changed[at] ?? 0) + by) % 256;
        await expect(verify(changed, headers, SECRET)).rejects.toThrow(SignatureError);
      }),
    );
  });
});
