import { AppError } from './errors.ts';

/** Whether an account may do what it pays for. */
export interface Standing {
  status: 'active' | 'restricted' | 'suspended' | 'closed';
  statusSince: Date;
}

/** The refusal of a suspended or closed account: since when and where to ask, never why. */
export function notOpen({ status, statusSince }: Standing, supportUrl: string | null): AppError {
  return new AppError(status === 'closed' ? 'account_closed' : 'account_suspended', {
    details: { since: statusSince.toISOString(), support_url: supportUrl },
  });
}
