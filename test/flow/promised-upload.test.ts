// Bytes that are promised first: where they are sent, when they are looked at, and what becomes of those that do not fit.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endRetention } from '../../src/flow/retention.ts';
import { speak } from '../../src/providers/sim/sound/speak.ts';
import { wavFile } from '../../src/domain/wav.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { PLACES, type Placed, startOn } from '../support/on-storage.ts';
import type { TestAccount } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';
import type { S3Call } from '../support/s3-server.ts';

interface Promised {
  id: string;
  upload: { method: string; url: string; headers: Record<string, string>; expires_at: string };
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe.each(PLACES)('a promised upload on %s', (place) => {
  let millrace: Placed;
  let account: TestAccount;
  beforeAll(async () => {
    // What is swept here is swept by the test.
    millrace = await startOn(place, { env: { SWEEP_MS: '60000' } });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());

  const direct = place === 's3 that clients reach';
  const promise = async (bytes: number, rest: object = {}): Promise<Promised> => {
    const { status, body } = await account.post('/v1/artifacts', {
      content_type: 'audio/wav',
      bytes,
      ...rest,
    });
    expect(status, JSON.stringify(body)).toBe(201);
    return body;
  };
  const send = async ({ upload }: Promised, bytes: Buffer): Promise<number> => {
    const { method, url, headers } = upload;
    const answer = await fetch(url, { method, headers, body: new Uint8Array(bytes) });
    await answer.arrayBuffer();
    return answer.status;
  };
  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of millrace.platform.ctx.storage.list()) found.push(key);
    return found.toSorted();
  };
  const content = async (id: string): Promise<Buffer> => {
    const headers = { authorization: `Bearer ${account.key}` };
    const answer = await fetch(`${millrace.url}/v1/artifacts/${id}/content`, { headers });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment/);
    return Buffer.from(await answer.arrayBuffer());
  };

  it('is told where to go', async () => {
    const { upload, ...artifact } = await promise(5);
    expect(artifact).toMatchObject({
      object: 'artifact',
      direction: 'input',
      bytes: 5,
      sha256: '',
      job_id: null,
    });
    const { host } = new URL(upload.url);
    expect(host).toBe(new URL(direct ? millrace.s3!.url : millrace.url).host);
    expect(upload).toMatchObject({ method: 'PUT', headers: { 'content-type': 'audio/wav' } });
    expect((Date.parse(upload.expires_at) - Date.now()) / 60_000).toBeCloseTo(60, 0);
    expect((await account.get('/v1/artifacts')).body.data.map(({ id }: Promised) => id)).not.toContain(
      artifact.id,
    );
  });

  it('is refused until it is there, and is then what was sent', async () => {
    const bytes = randomBytes(3_000_000);
    const promised = await promise(bytes.length, { sha256: sha256(bytes) });
    const { id } = promised;
    for (const answer of [
      await account.get(`/v1/artifacts/${id}`),
      await account.get(`/v1/artifacts/${id}/content`),
      await account.post(`/v1/artifacts/${id}/links`, { expires_in_s: 900 }),
      await account.post('/v1/jobs', { model: 'sim/stt', input: { artifact: id } }),
    ]) {
      expectRefusal(answer, 'input_unsupported');
      expect(answer.body.message).toMatch(/has not been uploaded yet/);
    }
    expect(await send(promised, bytes)).toBe(direct ? 200 : 204);
    // Many ask for it at once, as the first.
    const shown = await Promise.all(Array.from({ length: 5 }, () => account.get(`/v1/artifacts/${id}`)));
    for (const { body } of shown)
      expect(body).toMatchObject({
        id,
        bytes: bytes.length,
        sha256: sha256(bytes),
        content_type: 'audio/wav',
      });
    expect((await content(id)).equals(bytes)).toBe(true);
    expect(await keys()).toContain(`${account.id}/${sha256(bytes)}`);
    expect(await keys()).not.toContain(`${account.id}/up_${id}`);
    const { body } = await account.get('/v1/artifacts');
    expect(body.data.map((one: Promised) => one.id)).toContain(id);
  });

  it('is one of so many, and of so many bytes, that were never used, deleted or not', async () => {
    const other = await millrace.account();
    const form = { content_type: 'a/b', bytes: 100 * 1024 * 1024 };
    const first = await other.post('/v1/artifacts', form);
    await other.send('DELETE', `/v1/artifacts/${first.body.id}`);
    const more = (count: number, bytes: number) =>
      millrace.sql(
        `insert into artifacts (id, account_id, direction, content_type, bytes, sha256, storage_key, pending)
          select $1 || lpad(n::text, 8, '0'), $2, 'input', 'a/b', $4, '', 'x', true from generate_series(1, $3) n`,
        [first.body.id.slice(0, -8), other.id, count, bytes],
      );
    await more(203, form.bytes);
    expect((await other.post('/v1/artifacts', { ...form, bytes: form.bytes / 2 })).status).toBe(201);
    const refused = await other.post('/v1/artifacts', form);
    expectRefusal(refused, 'rate_limited');
    expect(refused.headers['retry-after']).toBe('60');
    await millrace.sql(`delete from artifacts where account_id = $1`, [other.id]);
    await more(999, 1);
    expect((await other.post('/v1/artifacts', form)).status).toBe(201);
    expectRefusal(await other.post('/v1/artifacts', form), 'rate_limited');
    // Nobody else has to wait, nor its own other uploads.
    await promise(5);
  });

  if (direct) {
    it('is brought here once, and read back never, however many ask for it at once', async () => {
      const sound = wavFile(speak('Once.', { voice: 'alloy', speed: 1 }));
      const promised = await promise(sound.length);
      await send(promised, sound);
      const { calls } = millrace.s3!;
      const from = calls.length;
      await Promise.all(Array.from({ length: 20 }, () => account.get(`/v1/artifacts/${promised.id}`)));
      const read = calls.slice(from).filter(({ method }) => method === 'GET');
      expect(read.map(({ key }) => key)).toEqual([`objects/${account.id}/up_${promised.id}`]);
    });

    it('deleted just before it would be used is deleted', async () => {
      const promised = await promise(5);
      await send(promised, Buffer.from('12345'));
      const isLook = ({ method, key }: S3Call) => method === 'GET' && key.endsWith(promised.id);
      millrace.s3!.misbehave({ on: isLook, how: 500, times: 1 });
      const asked = account.get(`/v1/artifacts/${promised.id}`);
      await eventually(() => millrace.s3!.calls.some(isLook), { what: 'a look', withinMs: 10_000 });
      expect((await account.send('DELETE', `/v1/artifacts/${promised.id}`)).status).toBe(204);
      expectRefusal(await asked, 'data_deleted');
    });

    it('is deleted though the storage does not answer', async () => {
      const promised = await promise(5);
      millrace.s3!.misbehave({ on: ({ method }) => method === 'DELETE', how: 'error' });
      expect((await account.send('DELETE', `/v1/artifacts/${promised.id}`)).status).toBe(204);
      millrace.s3!.behave();
    });
  }

  it('is heard by a job that names it first', async () => {
    const spoken = await account.run({ model: 'sim/tts', input: { input: 'The mill hears.' } });
    const { audio } = spoken.output;
    const bytes = await content(audio.artifact_id);
    const promised = await promise(bytes.length);
    await send(promised, bytes);
    const heard = await account.run({ model: 'sim/stt', input: { artifact: promised.id } });
    expect(heard).toMatchObject({ status: 'succeeded', output: { text: 'The mill hears.' } });
    expect(heard.bounds.audio_ms).toBe(audio.duration_ms);
  });

  it('may be sent once more, and stays what it was', async () => {
    const promised = await promise(4);
    await send(promised, Buffer.from('once'));
    const { body: first } = await account.get(`/v1/artifacts/${promised.id}`);
    expect([200, 204]).toContain(await send(promised, Buffer.from('once')));
    expect([200, 409]).toContain(await send(promised, Buffer.from('else')));
    expect((await account.get(`/v1/artifacts/${promised.id}`)).body).toEqual(first);
    expect((await content(promised.id)).toString()).toBe('once');
  });

  it('of another size is not taken', async () => {
    const promised = await promise(10);
    for (const bytes of [randomBytes(9), randomBytes(11), Buffer.alloc(0)])
      expect([400, 403]).toContain(await send(promised, bytes));
    expectRefusal(await account.get(`/v1/artifacts/${promised.id}`), 'input_unsupported');
    // And the right one still is.
    await send(promised, randomBytes(10));
    expect((await account.get(`/v1/artifacts/${promised.id}`)).status).toBe(200);
  });

  it('with another hash is not taken, or removed where nobody could look at it before', async () => {
    const promised = await promise(5, { sha256: sha256(Buffer.from('right')) });
    const status = await send(promised, Buffer.from('wrong'));
    const answer = await account.get(`/v1/artifacts/${promised.id}`);
    expectRefusal(answer, 'input_unsupported');
    if (!direct) return expect(status).toBe(400);
    expect(answer.body.message).toMatch(/another SHA-256/);
    expectRefusal(await account.get(`/v1/artifacts/${promised.id}`), 'data_deleted');
    expect(await keys()).not.toContain(`${account.id}/up_${promised.id}`);
  });

  it('of which more lies there than was promised is removed', async () => {
    const promised = await promise(5);
    // As if a server had not held the client to its promise.
    await millrace.platform.ctx.storage.put(`${account.id}/up_${promised.id}`, Buffer.from('too long'));
    const answer = await account.get(`/v1/artifacts/${promised.id}`);
    expectRefusal(answer, 'input_unsupported');
    expect(answer.body.message).toMatch(/longer than the 5 bytes/);
    expect((await account.get(`/v1/artifacts/${promised.id}`)).status).toBe(410);
    expect(await keys()).not.toContain(`${account.id}/up_${promised.id}`);
  });

  it.each([
    ['no size', { content_type: 'a/b' }, 'bytes'],
    ['no type', { bytes: 1 }, 'content_type'],
    ['too much', { content_type: 'a/b', bytes: 100 * 1024 * 1024 + 1 }, 'bytes'],
    ['nothing', { content_type: 'a/b', bytes: 0 }, 'bytes'],
    ['no media type', { content_type: 'text/html; charset=utf-8', bytes: 1 }, 'content_type'],
    ['no hash', { content_type: 'a/b', bytes: 1, sha256: 'x' }, 'sha256'],
    ['another field', { content_type: 'a/b', bytes: 1, name: 'x' }, 'name'],
  ])('of %s is no promise', async (_, form, path) => {
    const answer = await account.post('/v1/artifacts', form);
    expectRefusal(answer, 'invalid_request');
    expect(answer.body.details.issues[0].path).toBe(path);
  });

  it("is nobody else's", async () => {
    const promised = await promise(5);
    const stranger = await millrace.account();
    for (const path of ['', '/content'])
      expectRefusal(await stranger.get(`/v1/artifacts/${promised.id}${path}`), 'not_found');
    const url = new URL(promised.upload.url);
    const other = await promise(5);
    const changes: ((url: URL) => void)[] = [
      (url) => void (url.pathname = new URL(other.upload.url).pathname),
      (url) => url.searchParams.set(direct ? 'X-Amz-Expires' : 'expires', direct ? '7200' : '99999999999'),
      (url) => url.searchParams.set(direct ? 'X-Amz-Signature' : 'signature', '0'.repeat(64)),
    ];
    for (const change of changes) {
      const changed = new URL(url);
      change(changed);
      const upload = { ...promised.upload, url: changed.href };
      expect(await send({ ...promised, upload }, Buffer.from('12345'))).toBe(direct ? 403 : 404);
    }
  });

  it('that was never used is given up', async () => {
    const [unsent, unused] = [await promise(5), await promise(5)];
    await millrace.platform.ctx.storage.put(`${account.id}/up_${unused.id}`, Buffer.from('12345'));
    await millrace.sql(`update artifacts set expires_at = millrace_now() where id = any($1)`, [
      [unsent.id, unused.id],
    ]);
    await endRetention(millrace.platform.ctx);
    for (const { id } of [unsent, unused]) {
      const answer = await account.get(`/v1/artifacts/${id}`);
      expectRefusal(answer, 'data_deleted');
      expect(answer.body.message).toMatch(/never uploaded/);
    }
    expect(await keys()).not.toContain(`${account.id}/up_${unused.id}`);
  });

  if (!direct) {
    it('sent twice at once is what the one sent who was told so', async () => {
      for (let round = 0; round < 5; round++) {
        const promised = await promise(200_000);
        const sent = [randomBytes(200_000), randomBytes(200_000)];
        const statuses = await Promise.all(sent.map((bytes) => send(promised, bytes)));
        expect(statuses.toSorted()).toEqual([204, 409]);
        expect((await content(promised.id)).equals(sent[statuses.indexOf(204)]!)).toBe(true);
      }
    });

    it('says what is wrong with a PUT', async () => {
      const { upload } = await promise(5);
      const path = upload.url.slice(millrace.url.length);
      const nobody = openClient(millrace.url, null);
      const put = (headers: Record<string, string>, body = 'hello') =>
        nobody.send('PUT', path, { body, headers });
      const html = await put({ 'content-type': 'text/html' });
      expectRefusal(html, 'unsupported_media_type');
      expect(html.body.details.accept).toEqual(['audio/wav']);
      const type = { 'content-type': 'audio/wav' };
      expectRefusal(await put({ ...type, 'content-encoding': 'gzip' }), 'unsupported_media_type');
      const short = await put(type, 'hell');
      expectRefusal(short, 'invalid_request');
      expect(short.body.details.issues[0]).toMatchObject({ path: 'content-length', expected: 5 });
      expectRefusal(
        await nobody.send('PUT', path.replace(/\?.*/, ''), { body: 'hello', headers: type }),
        'invalid_request',
      );
      // A link to read it is none to send it, nor the other way round.
      expectRefusal(await nobody.get(path), 'not_found');
      expect((await put(type)).status).toBe(204);
    });

    it('that breaks off leaves nothing', async () => {
      const { id, upload } = await promise(1_000_000);
      const before = await keys();
      const { hostname, port, pathname, search } = new URL(upload.url);
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      socket.on('error', () => {});
      socket.write(
        `PUT ${pathname}${search} HTTP/1.1\r\nhost: x\r\ncontent-type: audio/wav\r\ncontent-length: 1000000\r\n\r\n`,
      );
      await new Promise((resolve) => socket.write(randomBytes(500_000), resolve));
      socket.destroy();
      expectRefusal(await account.get(`/v1/artifacts/${id}`), 'input_unsupported');
      expect(await keys()).toEqual(before);
    });

    it('that is too long without saying so before is refused in words', async () => {
      const { upload } = await promise(5);
      const body = new ReadableStream({
        start(controller) {
          for (let i = 0; i < 20; i++) controller.enqueue(randomBytes(100_000));
          controller.close();
        },
      });
      const init = { method: 'PUT', headers: upload.headers, body, duplex: 'half' };
      const answer = await fetch(upload.url, init as RequestInit);
      expect(answer.status).toBe(413);
      expect(await answer.json()).toMatchObject({ code: 'body_too_large', details: { max_bytes: 5 } });
    });
  }

  it('takes as much as an artifact may have', async () => {
    const bytes = Buffer.alloc(30 * 1024 * 1024, 7);
    const promised = await promise(bytes.length);
    expect(await send(promised, bytes)).toBe(direct ? 200 : 204);
    const { body } = await account.get(`/v1/artifacts/${promised.id}`);
    expect(body.sha256).toBe(sha256(bytes));
    const { body: books } = await millrace.admin.get('/v1/admin/invariants');
    expect(books).toMatchObject({ ok: true, breaches: [] });
  });
});
