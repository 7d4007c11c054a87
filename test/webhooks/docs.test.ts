// docs/webhooks.md, held to what is sent.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newSecret, RETRY_AFTER_S, signedHeaders } from '../../src/domain/webhook.ts';
import { openClient } from '../support/client.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { tableRows } from '../support/tables.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8');
type Verify = (secret: string, headers: Record<string, string>, body: string) => void;

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
});
afterAll(() => millrace.stop());

describe('docs/webhooks.md', () => {
  it('verifies as it says, in eight lines or so', async () => {
    const [, code = ''] = /```js\n([^]*?)```/.exec(text) ?? [];
    const { verify } = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
      verify: Verify;
    };
    const [secret, body] = [newSecret(), '{"id":"ev_1","text":"Mühle"}'];
    const headers = signedHeaders([newSecret(), secret], { id: 'ev_1', at: new Date(), body });
    expect(() => verify(secret, headers, body)).not.toThrow();
    expect(() => verify(newSecret(), headers, body)).toThrow('not from Millrace');
    expect(() => verify(secret, headers, `${body} `)).toThrow('not from Millrace');
    expect(() => verify(secret, { ...headers, 'webhook-id': 'ev_2' }, body)).toThrow('not from Millrace');
    const late = signedHeaders([secret], { id: 'ev_1', at: new Date(Date.now() - 301_000), body });
    expect(() => verify(secret, late, body)).toThrow('too old');
    expect(() => verify(secret, { ...headers, 'webhook-timestamp': 'soon' }, body)).toThrow('too old');
    expect(code.split('\n').length).toBeLessThanOrEqual(10);
  });

  it('has the pauses between calls', () => {
    const pauses = tableRows(text).find(([first]) => first === 'pause');
    const unit = { s: 1, min: 60, h: 3_600 };
    const seconds = pauses?.slice(1).map((cell) => {
      const [, count, name] = /^(\d+) (s|min|h)$/.exec(cell) ?? [];
      return Number(count) * unit[name as keyof typeof unit];
    });
    expect(seconds).toEqual(RETRY_AFTER_S);
  });

  it('is where calls say it is', async () => {
    const { status, headers, body } = await openClient(millrace.url, null).get('/docs/webhooks');
    expect([status, headers['content-type'], body]).toEqual([200, 'text/markdown; charset=utf-8', text]);
  });
});
