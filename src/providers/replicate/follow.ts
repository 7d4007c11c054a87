// From the name of a prediction to a result.
import { type Ended, targetOf } from '../exchange.ts';
import { CANCELED, failed, FORGOTTEN } from '../failure.ts';
import type { CallResult } from '../provider.ts';
import { pollUntilDone, unknownStatus, type Verdict } from '../remote.ts';
import { vendorError } from '../vendor-error.ts';
import { type Asked, headersOf, type Link, MOST_PREDICTION_BYTES, secretsOf } from './link.ts';
import { billed, computeTime, resultOf } from './output.ts';
import { type Prediction, predictionOf } from './prediction.ts';

/** Of a prediction that Replicate itself has named. */
export const follow = async (link: Link, asked: Asked, id: string): Promise<CallResult> =>
  (await look(link, asked, id)) ?? failed(NEVER, FORGOTTEN);

/** Null: Replicate knows no such prediction. */
export function look(link: Link, asked: Asked, id: string): Promise<CallResult | null> {
  const { origin, path } = targetOf(asked.route.baseUrl);
  return pollUntilDone({
    agent: link.agent,
    call: asked.call,
    request: {
      origin,
      path: `${path}/predictions/${id}`,
      headers: headersOf(asked.route),
      maxBytes: MOST_PREDICTION_BYTES,
    },
    pace: link.pace,
    totalMs: link.totalMs[asked.call.kind],
    read: (body, ended) => verdict(link, asked, { prediction: predictionOf(body), ended }),
  });
}

async function verdict(
  link: Link,
  asked: Asked,
  { prediction, ended }: { prediction: Prediction | null; ended: Ended },
): Promise<Verdict> {
  switch (prediction?.status) {
    case 'starting':
    case 'processing':
      return { is: 'goes on' };
    case 'succeeded':
      return { is: 'done', result: await resultOf(link, asked, { prediction, ended }) };
    case 'failed':
      return { is: 'done', result: failure(asked, { prediction, ended }) };
    case 'canceled':
    case 'aborted': {
      const worked = computeTime(asked, prediction);
      return {
        is: 'done',
        result: failed(ended, { ...CANCELED, billed: billed(worked) }),
      };
    }
    default:
      return { is: 'goes on', strange: unknownStatus(prediction?.status) };
  }
}

/** The model's own words; what it refuses for its content says so in them, and in no code. */
const REFUSED = /\bnsfw\b|safety (checker|filter)|content (policy|moderation)|flagged as sensitive|\bE005\b/i;

function failure(asked: Asked, { prediction, ended }: { prediction: Prediction; ended: Ended }): CallResult {
  const error = typeof prediction.error === 'string' ? prediction.error : '';
  if (REFUSED.test(error)) {
    const message = 'The provider refused the content.';
    return failed(ended, { code: 'content_refused', retryable: false, message });
  }
  const said = vendorError({ error: { message: error } }, secretsOf(asked))?.message;
  const worked = computeTime(asked, prediction);
  return failed(ended, {
    code: 'provider_unavailable',
    retryable: true,
    message: said ? `The model failed at the provider: ${said}` : 'The model failed at the provider.',
    note: 'the prediction failed',
    over: true,
    billed: billed(worked),
  });
}

/** Of an answer that did not come. */
export const NEVER: Ended = {
  how: 'done',
  sent: true,
  head: null,
  body: Buffer.alloc(0),
  firstByteMs: null,
  fault: null,
};
