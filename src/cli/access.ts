import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';

/** Where the API is, and with what key. */
export interface Access {
  url: string;
  key: string;
}

/** By the options, else the environment, else this data folder's credentials.json. @throws Error with the remedy */
export async function accessOf(
  { clientUrl, clientKey, dataDir }: Pick<Config, 'clientUrl' | 'clientKey' | 'dataDir'>,
  options: { url?: string; key?: string },
): Promise<Access> {
  const path = join(dataDir, 'credentials.json');
  const file = await readFile(path, 'utf8').then(
    (text) => JSON.parse(text) as { base_url?: string; api_key?: string },
    () => null,
  );
  const url = options.url ?? clientUrl ?? file?.base_url;
  const key = options.key ?? clientKey ?? file?.api_key;
  if (url === undefined || key === undefined)
    throw new Error(
      `There is no ${url === undefined ? 'address of an API' : 'key'}, and no ${path} to find it in. ` +
        'Give --url and --key, or set MILLRACE_URL and MILLRACE_API_KEY.',
    );
  return { url: url.replace(/\/+$/, ''), key };
}
