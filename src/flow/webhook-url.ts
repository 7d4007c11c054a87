import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import type { Refusal } from '../egress/egress.ts';

const WHY: Record<Refusal, string> = {
  malformed: 'is not a URL that can be called',
  scheme: 'must begin with https://',
  userinfo: 'must not have a name or password in it; each call is signed',
  port: 'must be on port 443 or 8443',
  private_address: 'leads to a place that is not public',
  unresolvable: 'has a name that cannot be found',
};

/**
 * A webhook's URL, if it may be called as far as it shows; what its name leads to is judged at each call.
 * @param field where it stands in the request
 * @throws AppError webhook_url_refused
 */
export function webhookUrl<T extends string | null>(
  { egress }: Pick<Context, 'egress'>,
  url: T,
  field: string,
): T {
  const refusal = url === null ? null : egress.refusal(url);
  if (refusal === null) return url;
  throw new AppError('webhook_url_refused', {
    message: `${field} ${WHY[refusal]}.`,
    details: { field, why: refusal },
  });
}
