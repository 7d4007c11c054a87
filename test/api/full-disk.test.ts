import { expect, it } from 'vitest';
import { toAppError } from '../../src/api/errors.ts';

it.each(['ENOSPC', 'EDQUOT', 'EROFS'])(
  'a disk that takes no more (%s) is the storage, and may pass',
  (code) => {
    const refusal = toAppError(Object.assign(new Error(code), { code }));
    expect(refusal).toMatchObject({ code: 'storage_unavailable', status: 503, retryable: true });
  },
);
