// `npx millrace listen`, as a developer runs it beside the server that is to receive.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { freePort } from '../../src/embedded/port.ts';
import { newSecret } from '../../src/domain/webhook.ts';
import { chat } from '../support/client.ts';
import { type Command, runNode } from '../support/command.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

let millrace: TestPlatform;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform();
});
afterAll(async () => {
  await millrace.stop();
  await receiver.close();
});

const listen = (args: string[], env: Record<string, string> = {}): Command =>
  runNode(['bin/millrace.mjs', 'listen', ...args], { env });

async function stop(command: Command): Promise<void> {
  command.signal('SIGINT');
  expect(await command.ended).toBe(0);
}

describe('millrace listen', () => {
  it('brings new events, signed with the secret it shows, and says what came back', async () => {
    const account = await millrace.account();
    await account.run(chat('before'));
    const command = listen(['--forward', receiver.url('/laptop'), '--events', 'job.*'], {
      MILLRACE_URL: millrace.url,
      MILLRACE_API_KEY: account.key,
    });
    const [, secret = ''] = await command.said(/signed with (whsec_\S+)/);
    await command.said(/It is connected/);
    receiver.answers('/laptop', 202);
    const { id } = await account.run(chat());
    await command.said(new RegExp(`job\\.succeeded ${id} -> 202 \\(\\d+ ms\\)`));
    const types = receiver.at('/laptop').map(({ event }) => event.type);
    expect(types).toEqual(['job.queued', 'job.succeeded']);
    for (const call of receiver.at('/laptop')) verify(secret, call);
    await millrace.admin.post(`/v1/admin/accounts/${account.id}/grants`, { credits: 5, reason: 'a gift' });
    receiver.answers('/laptop', (_, response) => response.writeHead(301, { location: '/' }).end());
    await account.run(chat());
    await command.said(/job\.succeeded \S+ -> 301/);
    expect(receiver.at('/laptop').map(({ event }) => event.type)).not.toContain('credits.granted');
    await stop(command);
  }, 30_000);

  it('brings what JSON may hold as it is, though it ends a line elsewhere, byte for byte', async () => {
    const account = await millrace.account();
    const command = listen([
      '--forward',
      receiver.url('/lines'),
      '--url',
      millrace.url,
      '--key',
      account.key,
    ]);
    const [, secret = ''] = await command.said(/signed with (whsec_\S+)/);
    await command.said(/It is connected/);
    const odd = 'one\u2028two\u2029three\u0085four\u000bfive\rsix';
    const { id } = await account.submit({ ...chat('x'), metadata: { odd } });
    await command.said(new RegExp(`job\\.queued ${id} -> 200`));
    const [call] = receiver.at('/lines');
    expect(call?.event.data['metadata']).toEqual({ odd });
    if (call) verify(secret, call);
    const { data } = (await account.get('/v1/events?limit=100', { accept: 'application/json' })).body;
    expect(data).toContainEqual(call?.event);
    await stop(command);
  }, 30_000);

  it('goes on where it was cut off, and finds address and key in credentials.json', async () => {
    const proxy = await startTcpProxy(millrace.url);
    const secret = newSecret();
    const path = '/again';
    const command = listen(
      ['--forward', receiver.url(path), '--secret', secret, '--url', `http://127.0.0.1:${proxy.port}`],
      { MILLRACE_DATA_DIR: millrace.dataDir },
    );
    await command.said(/It is connected/);
    const { readCredentials } = await import('../../src/platform.ts');
    const key = (await readCredentials(millrace.platform.ctx.config))?.api_key ?? '';
    const { openClient } = await import('../support/client.ts');
    const account = openClient(millrace.url, key);
    proxy.cutAll();
    const jobs = [await account.run(chat()), await account.run(chat())];
    await receiver.until('all came', () => receiver.at(path).length >= 4);
    for (const call of receiver.at(path)) verify(secret, call);
    const sequences = receiver.at(path).map(({ event }) => event.sequence);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(new Set(receiver.at(path).map(({ event }) => event.data['id']))).toEqual(
      new Set(jobs.map(({ id }) => id)),
    );
    await stop(command);

    // From an event on that was there before.
    const later = listen(
      ['--forward', receiver.url('/later'), '--after', String(sequences[1]), '--url', millrace.url],
      { MILLRACE_DATA_DIR: millrace.dataDir },
    );
    await receiver.until('the rest came', () => receiver.at('/later').length === sequences.length - 2);
    await stop(later);
    await proxy.close();
  }, 30_000);

  it('says what is wrong', async () => {
    const refused = listen([
      '--forward',
      receiver.url('/'),
      '--url',
      millrace.url,
      '--key',
      'mr_live_nonsense',
    ]);
    await refused.said(/The API refuses: 401/);
    expect(await refused.ended).toBe(1);
    const nowhere = listen(['--forward', receiver.url('/')], { MILLRACE_DATA_DIR: '/nonexistent' });
    await nowhere.said(/Give --url and --key/);
    expect(await nowhere.ended).toBe(1);
    for (const [args, words] of [
      [[], /required option '--forward <url>'/],
      [['--forward', 'localhost'], /must be a URL/],
      [['--forward', 'http://x', '--events', 'job.deleted'], /"job\.deleted" is no event/],
      [['--forward', 'http://x', '--secret', 'mine'], /must be whsec_/],
    ] as const) {
      const command = listen([...args]);
      await command.said(words);
      expect(await command.ended).toBe(1);
    }
    const account = await millrace.account();
    const dead = listen([
      '--forward',
      `http://127.0.0.1:${await freePort()}`,
      '--url',
      millrace.url,
      '--key',
      account.key,
    ]);
    await dead.said(/It is connected/);
    await account.run(chat());
    await dead.said(/job\.succeeded \S+ -> ECONNREFUSED/);
    await stop(dead);
  }, 30_000);

  it('waits for an API that is away', async () => {
    const port = await freePort();
    const command = listen([
      '--forward',
      receiver.url('/'),
      '--url',
      `http://127.0.0.1:${port}`,
      '--key',
      'k',
    ]);
    await command.said(/Trouble: the API cannot be reached \(ECONNREFUSED\)/);
    const server = createServer((_, response) => {
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write('id: 5\nevent: reset\ndata: {}\n\n');
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    expect((server.address() as AddressInfo).port).toBe(port);
    await command.said(/It is connected/);
    await stop(command);
    server.closeAllConnections();
    server.close();
  }, 30_000);
});
