import { expect, it } from 'vitest';
import { isEveryAddress, rootOf } from '../../src/domain/address.ts';

it.each([
  ['127.0.0.1', 'http://127.0.0.1:80'],
  ['mill.example', 'http://mill.example:80'],
  ['10.0.0.0', 'http://10.0.0.0:80'],
  ['::1', 'http://[::1]:80'],
  ['fe80::', 'http://[fe80::]:80'],
])('%s is where it says', (host, root) => {
  expect([isEveryAddress(host), rootOf(host, 80)]).toEqual([false, root]);
});

it.each(['0.0.0.0', '0', '::', '::0', '0:0:0:0:0:0:0:0', '::0.0.0.0'])(
  '%s is everywhere, and no place to send anybody',
  (host) => {
    expect([isEveryAddress(host), rootOf(host, 80)]).toEqual([true, 'http://localhost:80']);
  },
);
