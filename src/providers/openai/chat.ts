// One chat call of any server that speaks OpenAI's dialect: the client's bytes go up, the vendor's bytes come back.
import type { Agent } from 'undici';
import { members, rewriteObject } from '../../domain/json-members.ts';
import { type Ended, evidenceOf, exchange, type Head, targetOf } from '../exchange.ts';
import { failed, failureOf, malformed, parsed, TOO_LARGE } from '../failure.ts';
import type { Call, CallResult, Route } from '../provider.ts';
import type { Secrets } from '../vendor-error.ts';
import { ChatStream } from './stream.ts';
import { chatUsage } from './usage.ts';

const MOST_BYTES = 8 << 20;
/** A stream wraps each word in a few hundred bytes; what it says is held to MOST_BYTES itself. */
const MOST_STREAM_BYTES = 64 * MOST_BYTES;

export interface Limits {
  /** Most ms of one attempt, and of a stream without a byte. */
  totalMs: number;
  idleMs: number;
}

/** What a vendor needs beside a route. */
export interface Dialect {
  agent: Agent;
  limits: Limits;
  /** Further headers: name, value, name, value. */
  headers: string[];
  /** Members of the input that are not for this vendor. */
  drop: readonly string[];
  /** What the bound of the output is called where the client named none. */
  boundName: 'max_tokens' | 'max_completion_tokens';
  /** Work that goes on after a 202; absent where the vendor knows no such thing. */
  accepted?(ended: Ended): Promise<CallResult>;
}

export async function chat(dialect: Dialect, route: Route, call: Call): Promise<CallResult> {
  const { body, streamed, choices } = request(dialect, route, call);
  const stream = streamed ? new ChatStream(choices, (delta) => call.onDelta(delta)) : null;
  const { origin, path } = targetOf(route.baseUrl);
  const ended = await exchange(dialect.agent, {
    method: 'POST',
    origin,
    path: `${path}/chat/completions`,
    headers: [...headersFor(route, call), ...dialect.headers],
    body,
    signal: call.signal,
    totalMs: dialect.limits.totalMs,
    idleMs: streamed ? dialect.limits.idleMs : 0,
    maxBytes: streamed ? MOST_STREAM_BYTES : MOST_BYTES,
    sink: (head) => (isEventStream(head) ? stream : null),
  });
  if (dialect.accepted && ended.how === 'done' && ended.head?.status === 202) return dialect.accepted(ended);
  return resultOf(ended, { route, call, stream });
}

export function headersFor(
  { apiKey }: Route,
  { jobId, attempt }: Pick<Call, 'jobId' | 'attempt'>,
  content: readonly string[] = ['content-type', 'application/json'],
): string[] {
  const headers = [...content, 'user-agent', 'millrace', 'idempotency-key', `${jobId}-${attempt}`];
  if (apiKey !== null) headers.push('authorization', `Bearer ${apiKey}`);
  return headers;
}

const isEventStream = ({ headers }: Head): boolean =>
  String(headers['content-type']).startsWith('text/event-stream');

/** The client's bytes with the model, the mode and the bound of the output written over. */
function request(
  { drop, boundName }: Dialect,
  { upstreamModel }: Route,
  { input, bounds }: Call,
): { body: string; streamed: boolean; choices: number } {
  const named = new Map(members(input).map(({ name, start, end }) => [name, input.slice(start, end)]));
  const streamed = named.get('stream') !== 'false';
  const changes: Record<string, string | null> = Object.fromEntries(drop.map((name) => [name, null]));
  changes.model = JSON.stringify(upstreamModel);
  changes.stream = String(streamed);
  changes.stream_options = streamed ? streamOptions(named.get('stream_options')) : null;
  if (bounds.max_output_tokens !== undefined) {
    const names = ['max_tokens', 'max_completion_tokens'].filter(
      (name) => (named.get(name) ?? 'null') !== 'null',
    );
    for (const name of names.length > 0 ? names : [boundName])
      changes[name] = String(bounds.max_output_tokens);
  }
  return {
    body: rewriteObject(input, changes),
    streamed,
    choices: bounds.n ?? (Number(named.get('n') ?? 1) || 1),
  };
}

/** The client's own options stay, except that the usage is always wanted. */
function streamOptions(text: string | undefined): string {
  return rewriteObject(text?.startsWith('{') ? text : '{}', { include_usage: 'true' });
}

interface Asked {
  route: Route;
  call: Call;
  stream: ChatStream | null;
}

function resultOf(ended: Ended, { route, call, stream }: Asked): CallResult {
  const secrets = { apiKey: route.apiKey, input: call.input };
  const usage = chatUsage(stream?.assembly.usage);
  const evidence = evidenceOf(ended);
  if (ended.how === 'stopped') return { type: 'stopped', text: stream?.assembly.text ?? '', usage, evidence };
  if (stream?.isComplete(ended.how === 'done')) {
    const output = {
      kind: 'chat',
      text: stream.assembly.text,
      completion: stream.assembly.completion(),
    } as const;
    return { type: 'succeeded', output, usage, evidence };
  }
  const result = failureOf(ended, secrets) ?? streamFailure(ended, stream, secrets);
  if (result) return result.type === 'failed' ? { ...result, billed: usage } : result;
  return completed(ended, ended.body, { secrets, onDelta: stream && ((delta) => call.onDelta(delta)) });
}

/** Null: no stream came, but an answer in one piece, whether or not one was asked for. */
function streamFailure(ended: Ended, stream: ChatStream | null, secrets: Secrets): CallResult | null {
  if (ended.body.length > MOST_BYTES) return failed(ended, TOO_LARGE);
  if (!stream || !ended.head || !isEventStream(ended.head)) return null;
  if (stream.fault?.kind === 'too_large') return failed(ended, TOO_LARGE);
  return malformed(ended, {
    body: stream.fault?.event,
    what: stream.fault?.what ?? 'the stream ended early',
    secrets,
  });
}

/**
 * The result of a chat.completion in one piece; its bytes are kept as they are. `onDelta`, if given, gets the whole first
 * message as one delta.
 */
export function completed(
  ended: Ended,
  body: Buffer,
  { secrets, onDelta }: { secrets: Secrets; onDelta: ((delta: string) => void) | null },
): CallResult {
  const value = parsed(body) as { choices?: unknown; usage?: unknown } | null | undefined;
  const choices = value?.choices;
  const message = Array.isArray(choices)
    ? (choices[0] as { message?: { content?: unknown } } | undefined)?.message
    : undefined;
  if (typeof message !== 'object' || message === null) {
    return malformed(ended, { body: value, what: 'no completion with choices', secrets });
  }
  if (onDelta) onDelta(JSON.stringify(message));
  const text = typeof message.content === 'string' ? message.content : '';
  const output = { kind: 'chat', text, completion: body.toString() } as const;
  return { type: 'succeeded', output, usage: chatUsage(value?.usage), evidence: evidenceOf(ended) };
}
