// Any server with OpenAI's chat completions, named by base URL and key.
import { PROVIDER_KINDS } from '../../domain/providers.ts';
import { openAgent, targetOf } from '../exchange.ts';
import type { Call, CallResult, Provider, Route } from '../provider.ts';
import { chat, type Limits } from './chat.ts';

export const CHAT_LIMITS: Limits = { totalMs: 10 * 60_000, idleMs: 60_000 };

/** `limits` bound one attempt; by default those of contract 19. */
export function openaiProvider(limits: Partial<Limits> = {}): Provider {
  const agent = openAgent();
  return {
    name: 'openai',
    kinds: PROVIDER_KINDS.openai,
    async call(route: Route, call: Call): Promise<CallResult> {
      if (call.kind !== 'chat') throw new Error(`openai does no ${call.kind}`);
      const own = { agent, limits: { ...CHAT_LIMITS, ...limits } };
      // `sim` means something to the simulator alone.
      return chat({ ...own, headers: [], drop: ['sim'], boundName: boundName(route) }, route, call);
    },
    close: () => agent.destroy(),
  };
}

/**
 * OpenAI's own reasoning models refuse `max_tokens`, so there its newer name is used. Other servers may not know that one and
 * would ignore it, which leaves the cost without a bound: they get `max_tokens`, which all know.
 */
function boundName({ baseUrl }: Route): 'max_tokens' | 'max_completion_tokens' {
  return targetOf(baseUrl).origin === 'https://api.openai.com' ? 'max_completion_tokens' : 'max_tokens';
}
