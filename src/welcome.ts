// What `npm start` says once it serves. A key is shown to a person at a terminal and to nobody else: what is written to a
// file or a pipe is kept, and read by others.

interface Welcome {
  url: string;
  /** Where credentials.json is, or would be. */
  path: string;
  /** Null: this data folder has none. */
  apiKey: string | null;
}

/** In one line, for any log. */
export function greeting({ url, path, apiKey }: Welcome): string {
  const keys = apiKey === null ? `where its first start wrote them, not in ${path}` : `in ${path}`;
  return `Millrace is at ${url}, its API reference at ${url}/reference. Keys are ${keys}.`;
}

/** For a terminal: with a command to paste, which has the key. */
export function banner(welcome: Welcome): string {
  const { url, apiKey } = welcome;
  if (apiKey === null) return `${greeting(welcome)}\n`;
  return `${greeting(welcome)} Try:

  curl -s '${url}/v1/jobs?wait=30' -H 'authorization: Bearer ${apiKey}' \\
    -H 'content-type: application/json' -d '{"model":"sim/chat","input":{"messages":[{"role":"user","content":"Hello"}]}}'

`;
}
