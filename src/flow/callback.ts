// Where a vendor may tell that it is done. Whoever knows such an address can do no more than make a worker look sooner.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Context } from '../context.ts';
import { isId } from '../domain/ids.ts';
import type { KeyRing, RingKey } from '../domain/key-ring.ts';

interface Named {
  jobId: string;
  attempt: number;
}

/** The same for an attempt whenever it is asked for: the vendor's list of work can be searched for it. Null: nobody could call. */
export function callbackUrl({ config, secrets }: Context, attempt: Named): string | null {
  return config.callbackUrl && `${config.callbackUrl}/v1/callbacks/${callbackToken(secrets.keys, attempt)}`;
}

/** The job's and the attempt's name, signed under the ring's first key. */
export const callbackToken = (keys: KeyRing, named: Named): string => sign(keys[0], named);

function sign({ signing }: RingKey, { jobId, attempt }: Named): string {
  const name = `${jobId}-${attempt}`;
  return `${name}.${createHmac('sha256', signing).update(`provider-callback.${name}`).digest('base64url')}`;
}

/** Null: not signed by us. */
export function readCallbackToken(keys: KeyRing, token: string): Named | null {
  const [, jobId = '', attempt = ''] = /^(job_[^-.]+)-([1-9]\d{0,8})\.[\w-]{43}$/.exec(token) ?? [];
  if (!isId('job', jobId)) return null;
  const named = { jobId, attempt: Number(attempt) };
  const given = Buffer.from(token);
  const known = keys.some((key) => {
    const right = Buffer.from(sign(key, named));
    return given.length === right.length && timingSafeEqual(given, right);
  });
  return known ? named : null;
}
