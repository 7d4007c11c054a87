import { chat, completed, type Dialect } from '../openai/chat.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, identity, type Link, type Reader, secretsOf } from './link.ts';
import { accepted } from './remote.ts';

/** As any server of OpenAI's dialect, but that the simulator is told who calls and how to behave, and may answer later. */
export function simChat(link: Link, asked: Asked): Promise<CallResult> {
  const { route, call } = asked;
  const dialect: Dialect = {
    agent: link.agent,
    limits: { totalMs: link.totalMs.chat, idleMs: link.idleMs },
    headers: identity(call),
    drop: [],
    boundName: 'max_tokens',
    accepted: (ended) => accepted(link, { ...asked, ended }, chatReader(asked)),
  };
  return chat(dialect, { ...route, baseUrl: `${link.url}/v1` }, call);
}

export const chatReader =
  (asked: Asked): Reader =>
  (ended) =>
    completed(ended, ended.body, {
      secrets: secretsOf(asked),
      onDelta: (delta) => asked.call.onDelta(delta),
    });
