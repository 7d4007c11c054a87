// Clients that go in the middle, whichever way the bytes went, leave no file open and nothing on the disk.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type Placed, startOn } from '../support/on-storage.ts';
import type { TestAccount } from '../support/platform.ts';

const TIMES = 20;
const bytes = randomBytes(8 * 1024 * 1024);

describe.each(['files', 's3'] as const)('on %s', (place) => {
  let millrace: Placed;
  let account: TestAccount;
  let root: URL;
  beforeAll(async () => {
    millrace = await startOn(place, { worker: false });
    account = await millrace.account();
    root = new URL(millrace.url);
  });
  afterAll(() => millrace.stop());

  /** Files below the installation's folder that this process has open, those without a name too. */
  const openFiles = async (): Promise<string[]> => {
    const links = (await readdir('/proc/self/fd')).map((fd) =>
      readlink(`/proc/self/fd/${fd}`).catch(() => ''),
    );
    const mine = [join(millrace.dataDir, 'artifacts'), join(millrace.dataDir, 'spool')];
    return (await Promise.all(links)).filter((path) => mine.some((folder) => path.startsWith(folder)));
  };
  const drafts = (): Promise<string[]> => readdir(join(millrace.dataDir, 'artifacts/drafts')).catch(() => []);
  const begin = async (head: string, body: Buffer = Buffer.alloc(0)): Promise<Socket> => {
    const socket = connect(Number(root.port), root.hostname);
    socket.on('error', () => {});
    await once(socket, 'connect');
    const lines = head.replaceAll('\n', '\r\n');
    socket.write(`${lines}\r\nhost: x\r\nauthorization: Bearer ${account.key}\r\n\r\n`);
    socket.write(body);
    return socket;
  };
  const promise = async (): Promise<{ id: string; upload: { url: string } }> =>
    (await account.post('/v1/artifacts', { content_type: 'a/b', bytes: bytes.length })).body;
  const allGone = async (sockets: Socket[]): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await eventually(async () => (await openFiles()).length === 0 && (await drafts()).length === 0, {
      what: 'no file that is open, and no draft',
      withinMs: 20_000,
    });
  };
  const times = <T>(work: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: TIMES }, work));
  const half = bytes.subarray(0, bytes.length / 2);
  const somethingCame = () =>
    eventually(async () => (await openFiles()).length >= TIMES, { what: 'all are at it', withinMs: 20_000 });

  it('in a form', async () => {
    const part = '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n';
    const head = `POST /v1/artifacts HTTP/1.1\ncontent-type: multipart/form-data; boundary=x\ncontent-length: ${bytes.length}`;
    const sockets = await times(() => begin(head, Buffer.concat([Buffer.from(part), half])));
    await somethingCame();
    await allGone(sockets);
  });

  it('in a promised upload', async () => {
    const sockets = await times(async () => {
      const { pathname, search } = new URL((await promise()).upload.url);
      const head = `PUT ${pathname}${search} HTTP/1.1\ncontent-type: a/b\ncontent-length: ${bytes.length}`;
      return begin(head, half);
    });
    await somethingCame();
    await allGone(sockets);
  });

  it('in a download', async () => {
    const { id, upload } = await promise();
    const put = { method: 'PUT', headers: { 'content-type': 'a/b' }, body: bytes };
    expect((await fetch(upload.url, put)).status).toBe(204);
    const sockets = await times(() => begin(`GET /v1/artifacts/${id}/content HTTP/1.1`));
    await Promise.all(sockets.map((socket) => once(socket, 'readable')));
    if (place === 'files') await somethingCame();
    await allGone(sockets);
    expect((await account.get(`/v1/artifacts/${id}`)).status).toBe(200);
  });
});
