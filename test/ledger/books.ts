// Books with something of everything in them, to be broken.
import { join } from 'node:path';
import { chat, type Json } from '../support/client.ts';
import { jobUntil } from '../support/look.ts';
import type { TestAccount, TestPlatform } from '../support/platform.ts';

export interface Books {
  millrace: TestPlatform;
  /** Has jobs of many ends. */
  account: TestAccount;
  /** Has one job at a provider, one in the line, and one that was canceled there. */
  narrow: TestAccount;
  succeeded: Json;
  failed: Json;
  /** By the operator, while it ran. */
  stopped: Json;
  running: Json;
  waiting: Json;
  canceled: Json;
  artifact: { id: string; path: string };
}

/** Takes a platform with a worker. `begun` is done when there are accounts, and nothing else yet. */
export async function fillBooks(millrace: TestPlatform, begun?: () => Promise<unknown>): Promise<Books> {
  const account = await millrace.account({ plan: 'scale' });
  const narrow = await millrace.account({ overrides: { slots: 1, line_length: 3 } });
  await begun?.();
  const hanging = async (client: TestAccount): Promise<Json> => {
    const { id } = await client.submit(chat('Hang', { sim: { fault: 'hang' } }));
    return jobUntil(client, id, ({ status }) => status === 'running');
  };
  const succeeded = await account.run(chat('Good morning'));
  const failed = await account.run(chat('No', { sim: { fault: 'refusal' } }));
  const image = await account.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
  const { id } = await hanging(account);
  await millrace.admin.post(`/v1/admin/accounts/${account.id}/jobs/${id}/cancel`);
  const stopped = await account.ended(id);

  const running = await hanging(narrow);
  const waiting = await narrow.submit(chat('Wait'));
  const unwanted = await narrow.submit(chat('Cancel me'));
  const { body: canceled } = await narrow.post(`/v1/jobs/${unwanted.id}/cancel`);

  const artifactId = image.output.images[0].artifact_id as string;
  const [row] = await millrace.sql<{ key: string }>(
    'select storage_key as key from artifacts where id = $1',
    [artifactId],
  );
  const path = join(millrace.dataDir, 'artifacts', 'objects', row!.key);
  return {
    millrace,
    account,
    narrow,
    succeeded,
    failed,
    stopped,
    running,
    waiting,
    canceled,
    artifact: { id: artifactId, path },
  };
}

/** The account's only lot. */
export async function lotOf({ millrace }: Books, { id }: TestAccount): Promise<string> {
  const [lot] = await millrace.sql<{ id: string }>('select id from lots where account_id = $1', [id]);
  return lot!.id;
}

/** The id of a job's entry in the ledger. */
export async function entryOf({ millrace }: Books, job: Json, type: string): Promise<string> {
  const [entry] = await millrace.sql<{ id: string }>(
    'select id from ledger_transactions where job_id = $1 and type = $2',
    [job.id, type],
  );
  return entry!.id;
}
