import type { Context } from '../context.ts';
import type { Provider } from '../providers/provider.ts';
import type { Announcer } from './announce.ts';
import type { Settle } from './settle.ts';

export interface SweepTools {
  announcer: Announcer;
  settle: Settle;
  provider(name: string): Provider;
}

/** The most that one task does in one pass, so that every task has its turn soon. */
export const PASS_MAX = 500;

/** Answers whether a full page was found and done, so that more may be left. */
export type SweepTask = (ctx: Context, tools: SweepTools) => Promise<boolean>;
