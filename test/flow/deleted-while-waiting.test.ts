// An artifact that is deleted, or past its retention, while a job waits for its turn with it: nobody sees it any more, and the
// job has what it was let in with.
import { expect, describe, it, beforeAll, afterAll } from 'vitest';
import { removeOrphans } from '../../src/flow/remove-orphans.ts';
import { endRetention } from '../../src/flow/retention.ts';
import { speak } from '../../src/providers/sim/sound/speak.ts';
import { wavFile } from '../../src/domain/wav.ts';
import { type Placed, startOn } from '../support/on-storage.ts';
import type { TestAccount } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';

describe.each(['files', 's3'] as const)('on %s', (place) => {
  let millrace: Placed;
  let account: TestAccount;
  beforeAll(async () => {
    millrace = await startOn(place, { worker: false });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());

  const upload = async (text: string): Promise<{ id: string; sha256: string }> => {
    const head =
      '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\ncontent-type: audio/wav\r\n\r\n';
    const sound = wavFile(speak(text, { voice: 'alloy', speed: 1 }));
    const { status, body } = await account.post(
      '/v1/artifacts',
      Buffer.concat([Buffer.from(head), sound, Buffer.from('\r\n--x--\r\n')]) as never,
      { 'content-type': 'multipart/form-data; boundary=x' },
    );
    expect(status).toBe(201);
    return body;
  };
  const sweep = async (): Promise<number | null> => {
    await millrace.sql(`delete from settings where name = 'remove_orphans_at'`);
    await millrace.sql(`update artifacts set deleted_at = deleted_at - interval '6 minutes'`);
    return removeOrphans(millrace.platform.ctx);
  };

  it('it is heard, and goes when the job has ended', async () => {
    const [late, deleted, unused] = [
      await upload('Too late.'),
      await upload('Deleted.'),
      await upload('Unused.'),
    ];
    const waiting = await Promise.all(
      [late, deleted].map(({ id }) => account.submit({ model: 'sim/stt', input: { artifact: id } })),
    );
    await millrace.sql(`update artifacts set expires_at = millrace_now() where id = $1`, [late.id]);
    await endRetention(millrace.platform.ctx);
    for (const { id } of [deleted, unused]) await account.send('DELETE', `/v1/artifacts/${id}`);
    for (const { id, sha256 } of [late, deleted, unused]) {
      await millrace.grow(`${account.id}/${sha256}`, 23);
      expectRefusal(await account.get(`/v1/artifacts/${id}/content`), 'data_deleted');
    }
    expect(await sweep()).toBe(1);
    const worker = await millrace.addWorker();
    for (const [i, text] of ['Too late.', 'Deleted.'].entries())
      expect(await account.ended(waiting[i]!.id)).toMatchObject({ status: 'succeeded', output: { text } });
    await worker.stop();
    expect(await sweep()).toBe(2);
  });
});
