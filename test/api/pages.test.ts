// Lists turn both ways, and a page is the one beside its cursor (contract 3).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Client, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account({ overrides: { slots: 2, line_length: 10 } });
  for (let i = 0; i < 9; i++)
    await account.submit({ ...chat(`${i}`), metadata: { odd: String(i % 2), n: String(i) } });
  for (let i = 0; i < 9; i++) {
    const form = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${i}\r\n--x--\r\n`;
    const made = await account.post('/v1/artifacts', form, {
      'content-type': 'multipart/form-data; boundary=x',
    });
    expect(made.status).toBe(201);
    const hook = { url: `https://hooks.example/${i}`, events: ['job.queued'] };
    expect((await account.post('/v1/webhook-endpoints', hook)).status).toBe(201);
    const model = await millrace.admin.send('PUT', `/v1/admin/models/page/${i}`, { body: { kind: 'chat' } });
    expect(model.status).toBe(200);
  }
});
afterAll(() => millrace.stop());

interface List {
  client(): Client;
  path: string;
  /** What its cursors are. */
  cursor: 'id' | 'sequence';
}

const lists: List[] = [
  { client: () => account, path: '/v1/jobs?', cursor: 'id' },
  { client: () => account, path: '/v1/jobs?metadata[odd]=0&kind=chat&', cursor: 'id' },
  { client: () => account, path: '/v1/jobs?status=queued&', cursor: 'id' },
  { client: () => account, path: '/v1/transactions?', cursor: 'sequence' },
  { client: () => account, path: '/v1/artifacts?', cursor: 'id' },
  { client: () => account, path: '/v1/webhook-endpoints?', cursor: 'id' },
  { client: () => millrace.admin, path: '/v1/admin/models?', cursor: 'id' },
];

describe.each(lists)('$path', ({ client, path, cursor }) => {
  const page = async (query: string): Promise<Json> => {
    const { status, body } = await client().get(path + query);
    expect(status, JSON.stringify(body)).toBe(200);
    return body;
  };
  const cursors = ({ data }: Json): string[] => data.map((row: Json) => String(row[cursor]));

  it.each(['', 'order=asc', 'order=desc'])('turns forth and back over the same pages: %s', async (order) => {
    const all = await page(`limit=100&${order}`);
    expect(all).toMatchObject({ object: 'list', has_more: false, next_after: null });
    const ids = cursors(all);
    expect(ids.length).toBeGreaterThanOrEqual(5);

    const forth: string[][] = [];
    for (let query = ''; ;) {
      const body = await page(`limit=2&${order}${query}`);
      forth.push(cursors(body));
      expect(body.next_after).toBe(body.has_more ? cursors(body).at(-1) : null);
      if (!body.has_more) break;
      query = `&after=${body.next_after}`;
    }
    expect(forth.flat()).toEqual(ids);

    // From the last row back: each page ends just before the one that was seen.
    const back: string[][] = [];
    for (let first = ids.at(-1); ;) {
      const body = await page(`limit=2&${order}&before=${first}`);
      const seen = cursors(body);
      back.unshift(seen);
      // After such a page the list goes on with the cursor.
      const [following] = cursors(await page(`limit=1&${order}&after=${body.next_after}`));
      expect([body.next_after, following]).toEqual([seen.at(-1), first]);
      first = seen[0];
      expect(body.has_more).toBe(first !== ids[0]);
      if (!body.has_more) break;
    }
    expect(back.flat()).toEqual(ids.slice(0, -1));
    expect(back.slice(1).every((seen) => seen.length === 2)).toBe(true);
    expect(await page(`${order}&before=${ids[0]}`)).toEqual({
      object: 'list',
      data: [],
      has_more: false,
      next_after: null,
    });
  });

  it('stops before one cursor on its way from another', async () => {
    const ids = cursors(await page('limit=100'));
    const between = await page(`limit=2&after=${ids[0]}&before=${ids[4]}`);
    expect(cursors(between)).toEqual(ids.slice(1, 3));
    expect(between).toMatchObject({ has_more: true, next_after: ids[2] });
    const rest = await page(`limit=2&after=${between.next_after}&before=${ids[4]}`);
    expect(cursors(rest)).toEqual(ids.slice(3, 4));
    expect(rest).toMatchObject({ has_more: false, next_after: null });
  });
});
