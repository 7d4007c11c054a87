// Where a vendor may tell that it is done. Whoever knows such an address can do no more than make a worker look sooner.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Context } from '../context.ts';
import { isId } from '../domain/ids.ts';

interface Named {
  jobId: string;
  attempt: number;
}

/** The same for an attempt whenever it is asked for: the vendor's list of work can be searched for it. Null: nobody could call. */
export function callbackUrl({ config, secrets }: Context, attempt: Named): string | null {
  return config.callbackUrl && `${config.callbackUrl}/v1/callbacks/${callbackToken(secrets.key, attempt)}`;
}

/** The job's and the attempt's name, signed under a key of its own that is drawn from the installation's. */
export function callbackToken(key: Buffer, { jobId, attempt }: Named): string {
  const own = createHmac('sha256', key).update('provider-callbacks').digest();
  const name = `${jobId}-${attempt}`;
  return `${name}.${createHmac('sha256', own).update(name).digest('base64url')}`;
}

/** Null: not signed by us. */
export function readCallbackToken(key: Buffer, token: string): Named | null {
  const [, jobId = '', attempt = ''] = /^(job_[^-.]+)-([1-9]\d{0,8})\.[\w-]{43}$/.exec(token) ?? [];
  if (!isId('job', jobId)) return null;
  const named = { jobId, attempt: Number(attempt) };
  const right = Buffer.from(callbackToken(key, named));
  const given = Buffer.from(token);
  return given.length === right.length && timingSafeEqual(given, right) ? named : null;
}
