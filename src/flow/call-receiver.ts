// One signed call of a receiver.
import type { Context } from '../context.ts';
import { ANSWER_KEPT_BYTES, CALL_MS, type CallResult, faultOf, signedHeaders } from '../domain/webhook.ts';
import type { Reply } from '../egress/egress.ts';

export interface Message {
  url: string;
  eventId: string;
  body: string;
  /** Each signs. */
  secrets: readonly string[];
}

/** Never throws for the receiver's fault, and takes 15 s at most. */
export async function callReceiver(
  { egress, publicUrl }: Pick<Context, 'egress' | 'publicUrl'>,
  { url, eventId, body, secrets }: Message,
): Promise<CallResult> {
  const reply = await egress.send({
    method: 'POST',
    url,
    // By our own clock: the receiver holds it to its own.
    headers: {
      ...signedHeaders(secrets, { id: eventId, at: new Date(), body }),
      'user-agent': `Millrace/1 (+${publicUrl()}/docs/webhooks)`,
    },
    body,
    maxHops: 0,
    totalMs: CALL_MS,
    keepBytes: ANSWER_KEPT_BYTES,
  });
  const durationMs = Math.round(reply.ms);
  if (reply.how !== 'answered') return { httpStatus: null, error: wordFor(reply), body: null, durationMs };
  const text = reply.body.toString('utf8').replaceAll('\0', '');
  return { httpStatus: reply.status, error: faultOf(reply.status, reply.location), body: text, durationMs };
}

function wordFor(reply: Exclude<Reply, { how: 'answered' }>): string {
  switch (reply.how) {
    case 'refused':
      return `refused: ${reply.refusal}`;
    case 'failed':
      return `${reply.code}: ${reply.message}`;
    case 'timeout':
      return 'timeout';
    case 'stopped':
      return 'stopped';
  }
}
