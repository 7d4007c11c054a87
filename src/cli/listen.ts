// Events to a server on a developer's machine: each signed as a webhook, sent once, and told in a line.
import { wants } from '../domain/event-types.ts';
import { CALL_MS, signedHeaders } from '../domain/webhook.ts';
import { eventsOf, type StreamOptions } from './stream.ts';

export interface ListenOptions extends Omit<StreamOptions, 'trouble'> {
  forward: string;
  /** Patterns. */
  events: readonly string[];
  secret: string;
  say(line: string): void;
}

/** Until `signal` is aborted. @throws Error if the API refuses */
export async function listen({ forward, events, secret, say, ...stream }: ListenOptions): Promise<void> {
  let troubled: string | null = 'not connected yet';
  const trouble = (what: string | null): void => {
    if (what === troubled) return;
    say(what === null ? 'It is connected.' : `Trouble: ${what}.`);
    troubled = what;
  };
  for await (const { type, data } of eventsOf({ ...stream, trouble })) {
    if (!wants(events, type)) continue;
    const { id, data: about } = JSON.parse(data) as { id: string; data: { id?: string } };
    const from = performance.now();
    const outcome = await send(forward, signedHeaders([secret], { id, at: new Date(), body: data }), data);
    const ms = Math.round(performance.now() - from);
    say(`${new Date().toISOString()} ${type} ${about.id ?? id} -> ${outcome} (${ms} ms)`);
  }
}

/** The status, or why there is none. */
async function send(url: string, headers: Record<string, string>, body: string): Promise<string> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'user-agent': 'Millrace/1 (listen)' },
      body,
      // As a webhook: what is not followed there is not followed here.
      redirect: 'manual',
      signal: AbortSignal.timeout(CALL_MS),
    });
    await response.body?.cancel();
    return String(response.status);
  } catch (error) {
    const { name, cause, message } = error as { name: string; cause?: { code?: string }; message: string };
    return name === 'TimeoutError' ? 'timeout' : (cause?.code ?? message);
  }
}
