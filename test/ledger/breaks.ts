// Ways to break the books, by the invariant that must notice.
import type { Json } from '../support/client.ts';
import { type Books, entryOf, lotOf } from './books.ts';

const headers = 'ledger_transactions';
const lines = 'ledger_lines';

/** How a row is broken, and whom the audit must name. */
export interface Break {
  what: string;
  tables: string[];
  sql(books: Books): string;
  /** Asked before it is broken. */
  subject(books: Books): string | Promise<string>;
}

export const BREAKS: Record<string, Break[]> = {
  I1: [
    {
      what: 'a lot’s remaining',
      tables: ['lots'],
      sql: (b) => `update lots set remaining = remaining - 1 where account_id = '${b.account.id}'`,
      subject: (b) => lotOf(b, b.account),
    },
    {
      what: 'a lot’s held',
      tables: ['lots'],
      sql: (b) => `update lots set held = held + 1 where account_id = '${b.account.id}'`,
      subject: (b) => lotOf(b, b.account),
    },
    {
      what: 'what a lot was granted',
      tables: ['lots'],
      sql: (b) => `update lots set granted = granted + 5 where account_id = '${b.account.id}'`,
      subject: (b) => lotOf(b, b.account),
    },
    {
      what: 'a balance, one credit too high',
      tables: ['accounts'],
      sql: (b) => `update accounts set available = available + 1 where id = '${b.account.id}'`,
      subject: (b) => b.account.id,
    },
    {
      what: 'what an account holds',
      tables: ['accounts'],
      sql: (b) => `update accounts set held = held - 1 where id = '${b.narrow.id}'`,
      subject: (b) => b.narrow.id,
    },
    {
      what: 'the amount of a line',
      tables: [lines],
      sql: (b) => `update ledger_lines l set amount = l.amount + 1 from ledger_transactions t
        where t.account_id = l.account_id and t.sequence = l.sequence and t.job_id = '${b.succeeded.id}' and t.type = 'capture'`,
      subject: (b) => entryOf(b, b.succeeded, 'capture'),
    },
    {
      what: 'the amount of an entry',
      tables: [headers],
      sql: (b) =>
        `update ledger_transactions set amount = amount + 1 where job_id = '${b.succeeded.id}' and type = 'capture'`,
      subject: (b) => entryOf(b, b.succeeded, 'capture'),
    },
    {
      what: 'the balance after an entry',
      tables: [headers],
      sql: (b) =>
        `update ledger_transactions set balance_after = balance_after - 1 where job_id = '${b.succeeded.id}' and type = 'hold'`,
      subject: (b) => entryOf(b, b.succeeded, 'hold'),
    },
    {
      what: 'a line that is gone',
      tables: [lines],
      sql: (b) => `delete from ledger_lines l using ledger_transactions t
        where t.account_id = l.account_id and t.sequence = l.sequence and t.job_id = '${b.failed.id}' and t.type = 'release'`,
      subject: (b) => entryOf(b, b.failed, 'release'),
    },
    {
      what: 'lines whose entry is gone',
      tables: [headers],
      sql: (b) => `delete from ledger_transactions where job_id = '${b.failed.id}' and type = 'hold'`,
      subject: (b) => b.account.id,
    },
    {
      what: 'a lot that is gone',
      tables: ['lots'],
      sql: (b) => `delete from lots where account_id = '${b.account.id}'`,
      subject: (b) => lotOf(b, b.account),
    },
    {
      what: 'the last entry, gone with its lines',
      tables: [headers, lines],
      sql: (
        b,
      ) => `delete from ledger_lines l using accounts a where l.account_id = a.id and l.sequence = a.ledger_sequence and a.id = '${b.account.id}';
        delete from ledger_transactions t using accounts a where t.account_id = a.id and t.sequence = a.ledger_sequence and a.id = '${b.account.id}'`,
      subject: (b) => b.account.id,
    },
  ],
  I2: [
    {
      what: 'an account that is gone, with jobs left of it',
      tables: ['accounts'],
      sql: (b) => `delete from accounts where id = '${b.narrow.id}'`,
      subject: (b) => b.narrow.id,
    },
    {
      what: 'a hold that is gone',
      tables: [headers, lines],
      sql: (b) => `delete from ledger_lines l using ledger_transactions t
          where t.account_id = l.account_id and t.sequence = l.sequence and t.job_id = '${b.running.id}';
        delete from ledger_transactions where job_id = '${b.running.id}'`,
      subject: (b) => b.running.id,
    },
    {
      what: 'a release that is gone',
      tables: [headers],
      sql: (b) => `delete from ledger_transactions where job_id = '${b.canceled.id}' and type = 'release'`,
      subject: (b) => b.canceled.id,
    },
    {
      what: 'a hold that was given back before the end',
      tables: [headers],
      sql: (b) =>
        `update ledger_transactions set job_id = '${b.waiting.id}' where job_id = '${b.canceled.id}' and type = 'release'`,
      subject: (b) => b.waiting.id,
    },
    {
      what: 'a job that says it holds more',
      tables: ['jobs'],
      sql: (b) => `update jobs set hold = hold + 1 where id = '${b.waiting.id}'`,
      subject: (b) => b.waiting.id,
    },
    {
      what: 'a hold of no job',
      tables: [headers],
      sql: (b) =>
        `update ledger_transactions set job_id = 'job_none' where job_id = '${b.succeeded.id}' and type = 'release'`,
      subject: (b) => entryOf(b, b.succeeded, 'release'),
    },
    {
      what: 'a hold whose job is gone',
      tables: ['jobs'],
      sql: (b) => `delete from jobs where id = '${b.running.id}'`,
      subject: (b) => entryOf(b, b.running, 'hold'),
    },
    {
      what: 'a hold of another account’s job',
      tables: ['jobs'],
      sql: (b) => `update jobs set account_id = '${b.account.id}' where id = '${b.waiting.id}'`,
      subject: (b) => entryOf(b, b.waiting, 'hold'),
    },
  ],
  I4: [
    {
      what: 'a bit of a slot that is in use, cleared',
      tables: ['accounts'],
      sql: (b) => `update accounts set busy_slots = '\\x00' where id = '${b.narrow.id}'`,
      subject: (b) => b.narrow.id,
    },
    {
      what: 'a bit of a slot that nobody has, set',
      tables: ['accounts'],
      sql: (b) => `update accounts set busy_slots = '\\x03' where id = '${b.narrow.id}'`,
      subject: (b) => b.narrow.id,
    },
    {
      what: 'the bit of another slot',
      tables: ['accounts'],
      sql: (b) => `update accounts set busy_slots = '\\x02' where id = '${b.narrow.id}'`,
      subject: (b) => b.running.id,
    },
    {
      what: 'a job’s slot',
      tables: ['jobs'],
      sql: (b) => `update jobs set slot = 9 where id = '${b.running.id}'`,
      subject: (b) => b.running.id,
    },
    {
      what: 'the length of the line',
      tables: ['accounts'],
      sql: (b) => `update accounts set line_waiting = line_waiting + 1 where id = '${b.narrow.id}'`,
      subject: (b) => b.narrow.id,
    },
    {
      what: 'the key that a job came with',
      tables: ['jobs'],
      sql: (b) => `update jobs set key_id = 'key_none' where id = '${b.failed.id}'`,
      subject: (b) => b.failed.id,
    },
    {
      what: 'an end that was not told',
      tables: ['events'],
      sql: (b) => `delete from events where job_id = '${b.failed.id}' and type = 'job.failed'`,
      subject: (b) => b.failed.id,
    },
    {
      what: 'a beginning that was not told',
      tables: ['events'],
      sql: (b) => `delete from events where job_id = '${b.waiting.id}'`,
      subject: (b) => b.waiting.id,
    },
    {
      what: 'an event of a job that is not there',
      tables: ['events'],
      sql: (b) =>
        `update events set job_id = 'job_none' where job_id = '${b.failed.id}' and type = 'job.failed'`,
      subject: () => 'job_none',
    },
    {
      what: 'an event of the account that is gone',
      tables: ['events'],
      sql: (b) => `delete from events where account_id = '${b.account.id}' and sequence = 3`,
      subject: (b) => b.account.id,
    },
    {
      what: 'an end told otherwise than it was',
      tables: ['jobs'],
      sql: (b) => `update jobs set status = 'expired', canceled_by = null where id = '${b.canceled.id}'`,
      subject: (b) => b.canceled.id,
    },
    {
      what: 'an end told twice',
      tables: ['events'],
      sql: (b) =>
        `update events set type = 'job.failed' where job_id = '${b.failed.id}' and type = 'job.queued'`,
      subject: (b) => b.failed.id,
    },
  ],
  I5: [
    {
      what: 'a capture made twice',
      tables: [headers, lines],
      sql: (b) => `drop index if exists ledger_transactions_job;
        insert into ledger_transactions select account_id, sequence + 100, id || 'x', type, job_id, amount, balance_after, reason, actor, created_at
          from ledger_transactions where job_id = '${b.succeeded.id}' and type = 'capture';
        insert into ledger_lines select l.account_id, l.sequence + 100, line, lot_id, from_bucket, to_bucket, l.amount
          from ledger_lines l join ledger_transactions t on t.account_id = l.account_id and t.sequence = l.sequence
          where t.job_id = '${b.succeeded.id}' and t.type = 'capture'`,
      subject: (b) => b.succeeded.id,
    },
    {
      what: 'a capture that is gone',
      tables: [headers],
      sql: (b) => `delete from ledger_transactions where job_id = '${b.succeeded.id}' and type = 'capture'`,
      subject: (b) => b.succeeded.id,
    },
    {
      what: 'a cost other than what was captured',
      tables: ['jobs'],
      sql: (b) => `update jobs set cost = cost + 1 where id = '${b.succeeded.id}'`,
      subject: (b) => b.succeeded.id,
    },
    {
      what: 'a failure that was charged',
      tables: ['jobs', headers, lines],
      sql: (b) => charged(b.failed),
      subject: (b) => b.failed.id,
    },
    {
      what: 'a failure that was charged, for nobody knows what',
      tables: ['jobs', headers, lines],
      sql: (b) =>
        `${charged(b.failed)}; update jobs set usage = '[]', error = null where id = '${b.failed.id}'`,
      subject: (b) => b.failed.id,
    },
    {
      what: 'a refusal that was charged, of a model that had not said so',
      tables: ['jobs', headers, lines],
      sql: (b) => `${charged(b.failed)}; update jobs set usage = '[]' where id = '${b.failed.id}'`,
      subject: (b) => b.failed.id,
    },
    {
      what: 'a charge for what had not begun',
      tables: ['jobs', headers, lines],
      sql: (b) => charged(b.canceled),
      subject: (b) => b.canceled.id,
    },
    {
      what: 'a charge for what the operator ended',
      tables: ['jobs', headers, lines],
      sql: (b) => charged(b.stopped),
      subject: (b) => b.stopped.id,
    },
    {
      what: 'a success without a result',
      tables: ['jobs'],
      sql: (b) => `update jobs set output = null where id = '${b.succeeded.id}'`,
      subject: (b) => b.succeeded.id,
    },
    {
      what: 'a capture that went elsewhere',
      tables: [lines],
      sql: (b) => `update ledger_lines l set to_bucket = 'refunded' from ledger_transactions t
        where t.account_id = l.account_id and t.sequence = l.sequence and t.job_id = '${b.succeeded.id}' and t.type = 'capture'`,
      subject: (b) => b.succeeded.id,
    },
  ],
  I10: [
    {
      what: 'an artifact’s hash',
      tables: ['artifacts'],
      sql: (b) => `update artifacts set sha256 = repeat('0', 64) where id = '${b.artifact.id}'`,
      subject: (b) => b.artifact.id,
    },
    {
      what: 'an artifact’s size',
      tables: ['artifacts'],
      sql: (b) => `update artifacts set bytes = bytes + 1 where id = '${b.artifact.id}'`,
      subject: (b) => b.artifact.id,
    },
    {
      what: 'the row of an artifact that an output names',
      tables: ['artifacts'],
      sql: (b) => `delete from artifacts where id = '${b.artifact.id}'`,
      subject: (b) => b.artifact.id,
    },
  ],
};

/** Its release becomes a capture in every respect, and its row says so: nothing but the rule is broken. */
const charged = (job: Json): string =>
  `update ledger_lines l set to_bucket = 'captured' from ledger_transactions t
      where t.account_id = l.account_id and t.sequence = l.sequence and t.job_id = '${job.id}' and t.type = 'release';
    update ledger_transactions set type = 'capture' where job_id = '${job.id}' and type = 'release';
    update jobs set cost = hold where id = '${job.id}'`;
