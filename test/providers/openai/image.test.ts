import { describe, expect, it } from 'vitest';
import { pngFile } from '../../../src/providers/sim/draw/png.ts';
import { artifactOf, bench, outputOf } from './media.ts';

const one = bench();
const bounds = { n: 1, size: '96x64' };
const png = await pngFile({ width: 32, height: 16, rgb: Buffer.alloc(32 * 16 * 3) });
const last = () => one.vendor.received.at(-1)!;

describe('an image', () => {
  it('is asked for with the bounds that were priced, in base64, and is what its bytes say', async () => {
    const input = { prompt: 'a mill', size: '9999x9999', n: 7 };
    const result = await one.call('image', input, {
      bounds: { n: 2, size: '96x64' },
      jobId: 'job_x',
      attempt: 2,
    });
    const { images } = outputOf(result, 'image');
    expect(images).toHaveLength(2);
    expect(images[0]).toMatchObject({ contentType: 'image/png', width: 96, height: 64, seed: null });
    expect(images[0]!.revisedPrompt).toBe('a fine mill');
    expect(result).toMatchObject({ usage: null, evidence: { http_status: 200, sent: true } });
    expect(last().path).toBe('/images/generations');
    expect(last().fields).toEqual({
      model: 'mill-1',
      prompt: 'a mill',
      n: 2,
      size: '96x64',
      response_format: 'b64_json',
    });
    expect(last().headers).toMatchObject({
      'idempotency-key': 'job_x-2',
      'content-type': 'application/json',
    });
  });

  it('of a model that answers in base64 only is not asked for it, and tells its tokens', async () => {
    const result = await one.call('image', { prompt: 'a mill' }, { bounds, upstreamModel: 'gpt-image-1' });
    expect(last().fields).not.toHaveProperty('response_format');
    expect(result).toMatchObject({
      type: 'succeeded',
      usage: [
        { name: 'token', measure: 'input', quantity: 50 },
        { name: 'token', measure: 'output', quantity: 280 },
      ],
    });
  });

  it('is asked for with the fields that the route names, and without those that it leaves out', async () => {
    const input = { prompt: 'a mill', quality: 'high', seed: 5, sim: { fault: '500' } };
    await one.call('image', input, {
      bounds,
      data: { fields: ['quality'], leave_out: ['n', 'size', 'seed'] },
    });
    expect(last().fields).toEqual({
      model: 'mill-1',
      prompt: 'a mill',
      quality: 'high',
      response_format: 'b64_json',
    });
    await one.call('image', input, {
      bounds,
      upstreamModel: 'gpt-image-1',
      data: { fields: ['seed', 'response_format'] },
    });
    expect(last().fields).toMatchObject({ seed: 5, response_format: 'b64_json' });
    await one.call('image', input, { bounds, data: { unknown_fields: 'pass' } });
    expect(last().fields).toMatchObject({ seed: 5, quality: 'high' });
  });

  it('is edited by a form that carries its bytes, name and type', async () => {
    const result = await one.call(
      'image',
      { prompt: 'at "night"\r\n--x', artifact: 'art_1', n: 1, quality: 'low', seed: 9 },
      { bounds, artifact: artifactOf(png, 'image/png'), data: { fields: ['artifact', 'quality'] } },
    );
    outputOf(result, 'image');
    const { path, headers, fields, files } = last();
    expect(path).toBe('/images/edits');
    expect(headers['content-type']).toMatch(/^multipart\/form-data; boundary=millrace-[0-9a-f]{48}$/);
    expect(fields).toEqual({
      model: 'mill-1',
      prompt: 'at "night"\r\n--x',
      n: '1',
      size: '96x64',
      quality: 'low',
      response_format: 'b64_json',
    });
    expect(files).toEqual([{ field: 'image', name: 'image.png', type: 'image/png', bytes: png }]);
  });

  it('by a data URL is taken', async () => {
    one.vendor.says({ body: { data: [{ url: `data:image/png;base64,${png.toString('base64')}` }] } });
    const result = await one.call('image', { prompt: 'a mill' }, { bounds });
    expect(outputOf(result, 'image').images[0]).toMatchObject({ width: 32, height: 16 });
  });

  it('by URL is the operator’s to mend: nothing is fetched, and nothing is tried again', async () => {
    const result = await one.call(
      'image',
      { prompt: 'a mill' },
      { bounds, data: { leave_out: ['response_format'] } },
    );
    expect(result).toMatchObject({ type: 'failed', code: 'provider_malformed', oursToMend: true });
    expect(JSON.stringify(result)).not.toContain('vendor.invalid');
  });

  it('more than was asked for is not kept', async () => {
    const item = { b64_json: png.toString('base64') };
    one.vendor.says({ body: { data: [item, item, item] } });
    expect(outputOf(await one.call('image', { prompt: 'a' }, { bounds }), 'image').images).toHaveLength(1);
  });

  it('that is malformed is billed all the same, and it is known for how much', async () => {
    one.vendor.says({ body: { data: [{}], usage: { input_tokens: 5, output_tokens: 6 } } });
    expect(await one.call('image', { prompt: 'a' }, { bounds })).toMatchObject({
      code: 'provider_malformed',
      billed: [
        { name: 'token', measure: 'input', quantity: 5 },
        { name: 'token', measure: 'output', quantity: 6 },
      ],
    });
  });

  it.each([
    ['nothing', { data: [] }],
    ['no list', { data: {} }],
    ['a text', { data: [{ b64_json: Buffer.from('<html>').toString('base64') }] }],
    ['half an image', { data: [{ b64_json: png.subarray(0, png.length - 20).toString('base64') }] }],
    ['one of two', { data: [{ b64_json: png.toString('base64') }, {}] }],
    ['a list', []],
  ])('%s is malformed', async (_, body) => {
    one.vendor.says({ body });
    expect(await one.call('image', { prompt: 'a' }, { bounds })).toMatchObject({
      type: 'failed',
      code: 'provider_malformed',
      retryable: true,
    });
  });
});
