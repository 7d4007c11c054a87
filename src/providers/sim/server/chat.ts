// POST /v1/chat/completions. A token is a word of the answer; a prompt has one for every four bytes of its text.
import { type Answer, invalid, wholeNumber, type Work } from './answer.ts';
import { answerTokens } from './words.ts';

const MOST_CHOICES = 8;
const MOST_TOKENS = 1_000_000;
const BYTES_PER_TOKEN = 4;
/** Pieces that a stream without latency puts in one event: nobody can see it grow, so fewer events are kinder to all. */
const TOKENS_PER_QUICK_EVENT = 4;

interface Plan {
  id: string;
  created: number;
  /** As JSON. */
  model: string;
  choices: { tokens: string[]; finish: 'stop' | 'length' }[];
  promptTokens: number;
  includeUsage: boolean;
  tokensPerEvent: number;
}

/** @throws SimError 400 */
export function chatWork(
  body: Record<string, unknown>,
  { id, latencyMs }: { id: string; latencyMs: number },
): Work {
  const prompt = promptOf(body.messages);
  const most = { min: 1, max: MOST_TOKENS, fallback: MOST_TOKENS };
  const bound = Math.min(
    wholeNumber(body.max_tokens, 'max_tokens', most),
    wholeNumber(body.max_completion_tokens, 'max_completion_tokens', most),
  );
  const n = wholeNumber(body.n, 'n', { min: 1, max: MOST_CHOICES, fallback: 1 });
  const plan: Plan = {
    id: `chatcmpl-${id}`,
    created: Math.floor(Date.now() / 1000),
    model: JSON.stringify(typeof body.model === 'string' ? body.model : 'sim'),
    choices: Array.from({ length: n }, (_, choice) => {
      const tokens = answerTokens(prompt, choice);
      return tokens.length > bound
        ? { tokens: tokens.slice(0, bound), finish: 'length' }
        : { tokens, finish: 'stop' };
    }),
    promptTokens: Math.ceil(Buffer.byteLength(prompt) / BYTES_PER_TOKEN),
    includeUsage:
      (body.stream_options as { include_usage?: unknown } | null | undefined)?.include_usage === true,
    tokensPerEvent: latencyMs > 0 ? 1 : TOKENS_PER_QUICK_EVENT,
  };
  return {
    kind: 'chat',
    weight: 1_000 * n,
    answer: (usageTimes) => completion(plan, usageTimes),
    events: body.stream === true ? (usageTimes) => events(plan, usageTimes) : null,
  };
}

/** All text of the messages. Its bytes are fewer than those of the messages as JSON. */
function promptOf(messages: unknown): string {
  if (!Array.isArray(messages) || messages.length === 0)
    throw invalid('messages must be a list that is not empty.');
  const texts: string[] = [];
  for (const message of messages as unknown[]) {
    const content = (message as { content?: unknown } | null)?.content;
    if (typeof content === 'string') texts.push(content);
    for (const part of Array.isArray(content) ? (content as unknown[]) : []) {
      const text = (part as { text?: unknown } | null)?.text;
      if (typeof text === 'string') texts.push(text);
    }
  }
  return texts.join('\n');
}

function usageOf({ choices, promptTokens }: Plan, times: number): string {
  const input = promptTokens * times;
  const output = choices.reduce((sum, { tokens }) => sum + tokens.length, 0) * times;
  return `{"prompt_tokens":${input},"completion_tokens":${output},"total_tokens":${input + output}}`;
}

function completion(plan: Plan, usageTimes: number): Answer {
  const choices = plan.choices.map(
    ({ tokens, finish }, index) =>
      `{"index":${index},"message":{"role":"assistant","content":${JSON.stringify(tokens.join(''))},"refusal":null},"logprobs":null,"finish_reason":"${finish}"}`,
  );
  const body = `{"id":"${plan.id}","object":"chat.completion","created":${plan.created},"model":${plan.model},"choices":[${choices.join()}],"usage":${usageOf(plan, usageTimes)},"system_fingerprint":"sim"}`;
  return { contentType: 'application/json', body };
}

/** Server-sent events: the role, the words of all choices in turn, the reasons of their ends, the usage if wanted, `[DONE]`. */
function events(plan: Plan, usageTimes: number): string[] {
  const head = `data: {"id":"${plan.id}","object":"chat.completion.chunk","created":${plan.created},"model":${plan.model},"system_fingerprint":"sim","choices":[`;
  const tail = plan.includeUsage ? '],"usage":null}\n\n' : ']}\n\n';
  const event = (index: number, delta: string, finish: string | null): string =>
    `${head}{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":${finish === null ? 'null' : `"${finish}"`}}${tail}`;
  const result = plan.choices.map((_, index) => event(index, '{"role":"assistant","content":""}', null));
  const longest = Math.max(...plan.choices.map(({ tokens }) => tokens.length));
  for (let i = 0; i < longest; i += plan.tokensPerEvent) {
    plan.choices.forEach(({ tokens }, index) => {
      const piece = tokens.slice(i, i + plan.tokensPerEvent).join('');
      if (piece !== '') result.push(event(index, `{"content":${JSON.stringify(piece)}}`, null));
    });
  }
  plan.choices.forEach(({ finish }, index) => result.push(event(index, '{}', finish)));
  if (plan.includeUsage) result.push(`${head}],"usage":${usageOf(plan, usageTimes)}}\n\n`);
  result.push('data: [DONE]\n\n');
  return result;
}
