// Accounts as an operator makes them.
import { type Client, openClient } from './client.ts';

export interface TestAccount extends Client {
  id: string;
  key: string;
  testKey: string;
}

export async function makeAccount(
  url: string,
  admin: Client,
  {
    plan = 'startup',
    credits = 200_000_000,
    overrides = {},
  }: { plan?: string; credits?: number; overrides?: Record<string, unknown> } = {},
): Promise<TestAccount> {
  const made = await admin.post<{ id: string; api_key: string; test_api_key: string }>('/v1/admin/accounts', {
    name: 'test',
    plan,
    credits,
    overrides,
  });
  if (made.status !== 201) throw new Error(`the account was not made: ${JSON.stringify(made.body)}`);
  const { id, api_key: key, test_api_key: testKey } = made.body;
  return { id, key, testKey, ...openClient(url, key) };
}
