// Any server that speaks OpenAI's dialect, named by base URL and key: chat completions, images, speech, transcriptions.
import { ATTEMPT_LIMIT_MS } from '../../domain/attempt-limit.ts';
import type { Kind } from '../../domain/job.ts';
import { PROVIDER_KINDS } from '../../domain/providers.ts';
import { openAgent, targetOf } from '../exchange.ts';
import type { Call, CallResult, Provider, Route } from '../provider.ts';
import { chat, type Limits } from './chat.ts';
import { image } from './image.ts';
import type { Asked, Link } from './link.ts';
import { speech } from './speech.ts';
import { transcription } from './transcription.ts';

const IDLE_MS = 60_000;

const CALLS: Record<Exclude<Kind, 'chat'>, (link: Link, asked: Asked) => Promise<CallResult>> = {
  image,
  tts: speech,
  stt: transcription,
};

/** `limits` bound one attempt of any kind; by default those of contract 19. */
export function openaiProvider(limits: Partial<Limits> = {}): Provider {
  const agent = openAgent();
  return {
    name: 'openai',
    kinds: PROVIDER_KINDS.openai,
    call(route: Route, call: Call): Promise<CallResult> {
      const own = { agent, limits: { totalMs: ATTEMPT_LIMIT_MS[call.kind], idleMs: IDLE_MS, ...limits } };
      if (call.kind !== 'chat') return CALLS[call.kind](own, { route, call });
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
