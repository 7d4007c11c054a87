// POST /v1/chat/completions. A token is a word of the answer; a prompt has one for every four bytes of its text.
import { type Answer, invalid, type Produce, wholeNumber, type Work } from './answer.ts';
import { answerTokens } from './words.ts';

const MOST_CHOICES = 8;
const MOST_TOKENS = 1_000_000;
const BYTES_PER_TOKEN = 4;
/** Pieces that a stream without latency puts in one event: nobody can see it grow, so fewer events are kinder to all. */
const TOKENS_PER_QUICK_EVENT = 4;

interface Said {
  id: string;
  created: number;
  /** As JSON. */
  model: string;
  promptTokens: number;
  choices: { text: string; tokens: number; finish: 'stop' | 'length' }[];
}

/** How a stream is cut in events. */
interface Cut {
  tokens: string[][];
  tokensPerEvent: number;
  includeUsage: boolean;
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
  const answers = Array.from({ length: n }, (_, choice) => answerTokens(prompt, choice));
  const tokens = answers.map((answer) => answer.slice(0, bound));
  const said: Said = {
    id: `chatcmpl-${id}`,
    created: Math.floor(Date.now() / 1000),
    model: JSON.stringify(typeof body.model === 'string' ? body.model : 'sim'),
    promptTokens: Math.ceil(Buffer.byteLength(prompt) / BYTES_PER_TOKEN),
    choices: tokens.map((part, i) => ({
      text: part.join(''),
      tokens: part.length,
      finish: part.length < answers[i]!.length ? 'length' : 'stop',
    })),
  };
  const includeUsage =
    (body.stream_options as { include_usage?: unknown } | null | undefined)?.include_usage === true;
  const cut = { tokens, tokensPerEvent: latencyMs > 0 ? 1 : TOKENS_PER_QUICK_EVENT, includeUsage };
  return {
    kind: 'chat',
    weight: 500 * n,
    answer: completionOf(said),
    events: body.stream === true ? (usageTimes) => events(said, cut, usageTimes) : null,
  };
}

// A function of its own, so that what is kept of a call does not hold on to its tokens.
const completionOf =
  (said: Said): Produce =>
  (usageTimes) =>
    completion(said, usageTimes);

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

function usageOf({ choices, promptTokens }: Said, times: number): string {
  const input = promptTokens * times;
  const output = choices.reduce((sum, { tokens }) => sum + tokens, 0) * times;
  return `{"prompt_tokens":${input},"completion_tokens":${output},"total_tokens":${input + output}}`;
}

function completion(said: Said, usageTimes: number): Answer {
  const choices = said.choices.map(
    ({ text, finish }, index) =>
      `{"index":${index},"message":{"role":"assistant","content":${JSON.stringify(text)},"refusal":null},"logprobs":null,"finish_reason":"${finish}"}`,
  );
  const body = `{"id":"${said.id}","object":"chat.completion","created":${said.created},"model":${said.model},"choices":[${choices.join()}],"usage":${usageOf(said, usageTimes)},"system_fingerprint":"sim"}`;
  return { contentType: 'application/json', body };
}

/** Server-sent events: the role, the words of all choices in turn, the reasons of their ends, the usage if wanted, `[DONE]`. */
function events(said: Said, { tokens, tokensPerEvent, includeUsage }: Cut, usageTimes: number): string[] {
  const head = `data: {"id":"${said.id}","object":"chat.completion.chunk","created":${said.created},"model":${said.model},"system_fingerprint":"sim","choices":[`;
  const tail = includeUsage ? '],"usage":null}\n\n' : ']}\n\n';
  const event = (index: number, delta: string, finish: string): string =>
    `${head}{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":${finish}}${tail}`;
  const result = tokens.map((_, index) => event(index, '{"role":"assistant","content":""}', 'null'));
  const longest = Math.max(...tokens.map((part) => part.length));
  for (let i = 0; i < longest; i += tokensPerEvent) {
    tokens.forEach((part, index) => {
      const piece = part.slice(i, i + tokensPerEvent).join('');
      if (piece !== '') result.push(event(index, `{"content":${JSON.stringify(piece)}}`, 'null'));
    });
  }
  said.choices.forEach(({ finish }, index) => result.push(event(index, '{}', `"${finish}"`)));
  if (includeUsage) result.push(`${head}],"usage":${usageOf(said, usageTimes)}}\n\n`);
  result.push('data: [DONE]\n\n');
  return result;
}
