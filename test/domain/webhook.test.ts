import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { EVENT_PATTERNS, EVENT_TYPES, TERMINAL_EVENTS, wants } from '../../src/domain/event-types.ts';
import {
  CALLS_MAX,
  consequence,
  isSecret,
  newSecret,
  RETRY_AFTER_S,
  signedHeaders,
  thinBody,
  verdictOf,
} from '../../src/domain/webhook.ts';

describe('a call', () => {
  it.each([200, 201, 202, 204, 299])('that is answered %i has got through', (status) => {
    expect(verdictOf(status, 3, 0.5)).toEqual({ status: 'delivered' });
  });

  it.each([null, 100, 300, 301, 304, 308, 400, 401, 404, 408, 429, 500, 503])(
    'that is answered %s is repeated, ten times in all',
    (status) => {
      const pauses = Array.from({ length: CALLS_MAX }, (_, failures) => verdictOf(status, failures, 0.5));
      expect(pauses.slice(0, -1)).toEqual(
        RETRY_AFTER_S.map((seconds) => ({ status: 'pending', waitMs: seconds * 1_000 })),
      );
      expect(pauses.at(-1)).toEqual({ status: 'exhausted' });
    },
  );

  it('is repeated for 75 hours, 35 minutes and 5 seconds, a fifth more or less', () => {
    expect(RETRY_AFTER_S.reduce((a, b) => a + b, 0)).toBe(75 * 3600 + 35 * 60 + 5);
    expect(CALLS_MAX).toBe(10);
    expect(verdictOf(500, 1, 0)).toEqual({ status: 'pending', waitMs: 240_000 });
    expect(verdictOf(500, 1, 1)).toEqual({ status: 'pending', waitMs: 360_000 });
  });

  it('that is answered 410 is the last', () => {
    expect(verdictOf(410, 0, 0.5)).toEqual({ status: 'failed', gone: true });
  });
});

describe('a signature', () => {
  const body = '{"id":"ev_1","type":"job.succeeded"}';
  const sign = (secrets: string[], change: Partial<{ id: string; at: Date; body: string }> = {}) =>
    signedHeaders(secrets, { id: 'ev_1', at: new Date(), body, ...change });

  it('is one that the reference library takes', () => {
    const secret = newSecret();
    expect(isSecret(secret)).toBe(true);
    expect(Buffer.from(secret.slice(6), 'base64')).toHaveLength(32);
    expect(new Webhook(secret).verify(body, sign([secret]))).toEqual(JSON.parse(body));
  });

  it('is not good for another body, id, time or secret, nor for long', () => {
    const secret = newSecret();
    const verify =
      (headers: Record<string, string>, text = body) =>
      () =>
        new Webhook(secret).verify(text, headers);
    const right = sign([secret]);
    expect(verify(right)).not.toThrow();
    expect(verify(right, body.replace('succeeded', 'failed'))).toThrow();
    expect(verify(right, `${body} `)).toThrow();
    expect(verify({ ...right, 'webhook-id': 'ev_2' })).toThrow();
    const later = String(Number(right['webhook-timestamp']) + 1);
    expect(verify({ ...right, 'webhook-timestamp': later })).toThrow();
    expect(verify(sign([newSecret()]))).toThrow();
    expect(verify(sign([secret], { at: new Date(Date.now() - 301_000) }))).toThrow('too old');
    expect(verify(sign([secret], { at: new Date(Date.now() + 302_000) }))).toThrow('too new');
  });

  it('of two secrets is good for who knows either', () => {
    const [old, fresh] = [newSecret(), newSecret()];
    const headers = sign([fresh, old]);
    for (const secret of [old, fresh]) expect(() => new Webhook(secret).verify(body, headers)).not.toThrow();
  });
});

describe('secrets', () => {
  it.each([
    '',
    'whsec_',
    'whsec_AAAA',
    `whsec_${'A'.repeat(200)}`,
    `whsec_${'é'.repeat(40)}`,
    'x'.repeat(50),
  ])('are not of another form: %s', (text) => expect(isSecret(text)).toBe(false));
});

describe('patterns', () => {
  it('match a type, a subject, or all', () => {
    for (const type of EVENT_TYPES) {
      const matching = EVENT_PATTERNS.filter((pattern) => wants([pattern], type));
      expect(matching).toEqual(['*', `${type.split('.')[0]}.*`, type]);
    }
    expect(wants([], 'job.failed')).toBe(false);
    expect(TERMINAL_EVENTS.every((type) => EVENT_TYPES.includes(type))).toBe(true);
  });
});

describe('a thin body', () => {
  it('has ids, status and version alone', () => {
    const data = {
      id: 'job_1',
      object: 'job',
      status: 'succeeded',
      version: 3,
      output: { text: 'secret' },
      metadata: { artifact_id: 'x' },
      lot_id: 'lot_1',
    };
    const full = { id: 'ev_1', object: 'event', type: 'job.succeeded', sequence: 7, data };
    expect(JSON.parse(thinBody(JSON.stringify(full)))).toEqual({
      ...full,
      data: { id: 'job_1', object: 'job', status: 'succeeded', version: 3, lot_id: 'lot_1' },
    });
  });
});

describe('an endpoint that fails', () => {
  const since = new Date('2026-11-20T00:00:00Z');
  const after = (hours: number) => new Date(since.getTime() + hours * 3_600_000);
  it('is told of after an hour, once, and switched off after five days', () => {
    const fresh = { failingSince: since, warnedAt: null };
    expect(consequence(fresh, after(0.9))).toBe(null);
    expect(consequence(fresh, after(1))).toBe('warn');
    expect(consequence({ ...fresh, warnedAt: after(1) }, after(119.9))).toBe(null);
    expect(consequence({ ...fresh, warnedAt: after(1) }, after(120))).toBe('disable');
    expect(consequence({ failingSince: null, warnedAt: null }, after(200))).toBe(null);
  });
});
