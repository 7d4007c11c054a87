// Work whose name was lost: the newest predictions are searched for the address that it was to call back. That is ours and of
// one attempt alone; equal inputs are not the same work, and a field of ours among a model's own may be refused.
import { setTimeout as sleep } from 'node:timers/promises';
import { parsed } from '../failure.ts';
import type { Route } from '../provider.ts';
import { ask, type Link, originOf } from './link.ts';
import { predictionOf } from './prediction.ts';

/** The newest are listed first, a hundred a page. */
const MOST_PAGES = 5;

interface Wanted {
  callbackUrl: string | null;
  signal: AbortSignal;
  /** How often at most. More than once where the work may begin only now. */
  tries?: number;
}

/** Null: not there, or there is nothing to find it by. */
export async function find(
  link: Link,
  route: Route,
  { callbackUrl, signal, tries = link.againMs.length }: Wanted,
): Promise<string | null> {
  if (callbackUrl === null) return null;
  for (let done = 1; !signal.aborted; done++) {
    const id = await search(link, route, { callbackUrl, signal });
    if (id !== null) return id;
    if (done >= tries) return null;
    await sleep(link.againMs[done - 1], undefined, { signal }).catch(() => {});
  }
  return null;
}

async function search(
  link: Link,
  route: Route,
  { callbackUrl, signal }: { callbackUrl: string; signal: AbortSignal },
): Promise<string | null> {
  let path: string | null = '/predictions';
  for (let pages = 0; path !== null && pages < MOST_PAGES; pages++) {
    const ended = await ask(link, route, { method: 'GET', path, signal });
    if (ended.how !== 'done' || ended.head?.status !== 200) return null;
    const { results, next } = Object(parsed(ended.body)) as { results?: unknown; next?: unknown };
    const listed = (Array.isArray(results) ? (results as unknown[]) : []).map(predictionOf);
    // Where the platform's own address or key changed meanwhile, the name in the token at its end is the same.
    const found = listed.find((one) => one?.webhook != null && nameOf(one.webhook) === nameOf(callbackUrl));
    if (found) return found.id;
    path = pathOf(next, route);
  }
  return null;
}

/** Of job and attempt: what stands before the signature. The list is of our own account, where nobody else could write. */
const nameOf = (url: string): string | undefined => url.slice(url.lastIndexOf('/') + 1).split('.')[0];

/** The next page's address is absolute; with our key it is asked for only where the API is. */
function pathOf(next: unknown, route: Route): string | null {
  if (typeof next !== 'string' || !URL.canParse(next)) return null;
  const { origin, pathname, search } = new URL(next);
  const root = new URL(route.baseUrl).pathname.replace(/\/+$/, '');
  return origin === originOf(route) && pathname.startsWith(`${root}/`)
    ? pathname.slice(root.length) + search
    : null;
}
