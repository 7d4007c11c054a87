// Which code speaks for a route's provider.
import { type ExecOptions, execProvider } from './exec/index.ts';
import { openaiProvider } from './openai/index.ts';
import type { Provider } from './provider.ts';
import { replicateProvider } from './replicate/index.ts';
import { simProvider } from './sim/index.ts';

export interface Providers {
  /** @throws Error for a name that no provider has: the routes' data is wrong */
  get(name: string): Provider;
  /** What this machine's engines can serve: upstream models of provider `exec`. */
  engines(): string[];
  close(): Promise<void>;
}

export interface ProviderOptions {
  /** Null: there is no simulator, and no provider `sim`. */
  simUrl: string | null;
  /** Absent: no provider `exec`. */
  exec?: ExecOptions;
}

export function openProviders({ simUrl, exec: machine }: ProviderOptions): Providers {
  const exec = machine && execProvider(machine);
  const sim = simUrl === null ? null : simProvider({ url: simUrl });
  const all = [openaiProvider(), replicateProvider(), exec, sim].filter((provider) => provider != null);
  const byName = new Map(all.map((provider) => [provider.name, provider]));
  return {
    get(name) {
      const provider = byName.get(name);
      if (!provider) throw new Error(`no provider is called ${name}`);
      return provider;
    },
    engines: () => exec?.engines() ?? [],
    close: async () => void (await Promise.all(all.map((provider) => provider.close()))),
  };
}
