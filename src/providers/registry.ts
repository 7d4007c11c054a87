// Which code speaks for a route's provider.
import { openaiProvider } from './openai/index.ts';
import type { Provider } from './provider.ts';
import { replicateProvider } from './replicate/index.ts';
import { simProvider } from './sim/index.ts';

export interface Providers {
  /** @throws Error for a name that no provider has: the routes' data is wrong */
  get(name: string): Provider;
  close(): Promise<void>;
}

/** `simUrl` null: there is no simulator, and no provider `sim`. */
export function openProviders({ simUrl }: { simUrl: string | null }): Providers {
  const all = [
    openaiProvider(),
    replicateProvider(),
    ...(simUrl === null ? [] : [simProvider({ url: simUrl })]),
  ];
  const byName = new Map(all.map((provider) => [provider.name, provider]));
  return {
    get(name) {
      const provider = byName.get(name);
      if (!provider) throw new Error(`no provider is called ${name}`);
      return provider;
    },
    close: async () => void (await Promise.all(all.map((provider) => provider.close()))),
  };
}
