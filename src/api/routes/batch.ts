// Many jobs in one request, each judged alone (contract 4).
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { type AppError, fieldName, invalidRequest } from '../../domain/errors.ts';
import { isFinal } from '../../domain/job.ts';
import { rawItems, rawMember } from '../../domain/json-members.ts';
import { Submission } from '../../domain/submission.ts';
import type { Answer } from '../../flow/admit.ts';
import { prepare, type Prepared, storeLongInput } from '../../flow/submit.ts';
import { type Api, clientRequestId } from '../api.ts';
import { BATCH_LIST, BATCH_MAX_BYTES, invalidJson } from '../body.ts';
import { errorBody, noteFailure, pathOf, toAppError } from '../errors.ts';
import { JSON_TYPE } from '../headers.ts';
import { idempotencyKey, idempotencyOf } from '../idempotency.ts';
import { ErrorAnswer, JobAnswer } from '../shapes.ts';
import { asSubmission, assertInput, exceptBody } from '../validate.ts';
import { accepted, dropLongInput, rawParts } from '../take-job.ts';
import { callerOf } from './jobs.ts';

const BATCH_MAX = 1_000;

const BatchAnswer = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({
      index: Type.Integer(),
      status: Type.Integer(),
      job: Type.Optional(JobAnswer),
      error: Type.Optional(ErrorAnswer),
    }),
  ),
});

type Item = Prepared | { refusal: AppError };

export function batchRoutes(app: FastifyInstance, api: Api): void {
  app.post<{ Body: { jobs: unknown[]; all_or_nothing?: boolean } }>(
    '/v1/jobs/batch',
    {
      bodyLimit: BATCH_MAX_BYTES,
      schema: {
        tags: ['jobs'],
        summary: 'Submit many jobs',
        description: 'Each item is judged alone and answered at its index, unless `all_or_nothing` is set.',
        body: Type.Object(
          {
            jobs: Type.Array(Type.Unsafe({ ...Submission }), { minItems: 1, maxItems: BATCH_MAX }),
            all_or_nothing: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false },
        ),
        headers: Type.Object({
          'idempotency-key': idempotencyKey(
            'It holds for each index apart, and with `all_or_nothing` for the whole: jobs that were admitted are answered as they are ' +
              'now, refused ones are judged again.',
          ),
        }),
        response: { 200: BatchAnswer },
      },
      // The items are checked one by one, so that a bad one does not spoil its neighbours.
      validatorCompiler: exceptBody,
    },
    async (request, reply) => {
      const { jobs, atomic } = shapeOf(request.body);
      const texts = rawItems(rawMember(request.rawBody, BATCH_LIST) ?? '[]');
      const prepared = await Promise.all(
        jobs.map((_, index) =>
          prepareItem(api, request, { value: jobs[index], text: texts[index] ?? '{}', index, atomic }),
        ),
      );
      const refused = prepared.find((item): item is { refusal: AppError } => 'refusal' in item);
      if (atomic && refused) {
        await Promise.all(prepared.map((item) => 'request' in item && dropLongInput(api, item.request)));
        throw refused.refusal;
      }
      const answers = await admitAll(api, prepared, atomic);
      const results = await Promise.all(
        prepared.map((item, index) =>
          resultOf(api, request, { item, answer: answers.get(index) ?? null, index }),
        ),
      );
      return reply.type(JSON_TYPE).send(`{"object":"list","data":[${results.join(',')}]}`);
    },
  );
}

/** The outer shape alone. @throws AppError invalid_request */
function shapeOf(body: unknown): { jobs: unknown[]; atomic: boolean } {
  const { jobs, all_or_nothing, ...rest } = (typeof body === 'object' && body !== null ? body : {}) as Record<
    string,
    unknown
  >;
  const refuse = (path: string, message: string, expected: string): AppError =>
    invalidRequest({ path, message, expected, received: 'something else' });
  const stranger = Object.keys(rest)[0];
  if (stranger !== undefined) throw refuse(fieldName(stranger), 'is not a field we know', 'no such field');
  const some = `1 to ${BATCH_MAX} jobs`;
  if (!Array.isArray(jobs)) throw refuse('jobs', 'must be a list of jobs', some);
  if (jobs.length < 1 || jobs.length > BATCH_MAX) throw refuse('jobs', `must hold ${some}`, some);
  if (all_or_nothing !== undefined && typeof all_or_nothing !== 'boolean')
    throw refuse('all_or_nothing', 'must be true or false', 'true or false');
  return { jobs: jobs as unknown[], atomic: all_or_nothing === true };
}

async function prepareItem(
  { ctx }: Api,
  request: FastifyRequest,
  { value, text, index, atomic }: { value: unknown; text: string; index: number; atomic: boolean },
): Promise<Item> {
  const fault = request.itemFaults.get(index);
  if (fault) return { refusal: invalidJson(fault) };
  try {
    const body = asSubmission(value);
    // All or nothing is one key: the same items among others are another request.
    const idempotency = idempotencyOf(request, atomic ? request.rawBody : text, index);
    const named = clientRequestId(request.headers['x-client-request-id']);
    const prepared = await prepare(ctx, request.caller, {
      body,
      ...rawParts(text),
      idempotency,
      clientRequestId: named,
      assertInput,
    });
    return { ...prepared, request: await storeLongInput(ctx, prepared.request) };
  } catch (error) {
    return { refusal: toAppError(error) };
  }
}

async function admitAll(api: Api, prepared: readonly Item[], atomic: boolean): Promise<Map<number, Answer>> {
  const wanted = prepared.flatMap((item, index) =>
    'request' in item ? [{ index, request: item.request }] : [],
  );
  if (wanted.length === 0) return new Map();
  const units = atomic ? [wanted] : wanted.map((one) => [one]);
  const answers = await Promise.all(
    units.map((unit) => api.admit({ requests: unit.map(({ request }) => request), atomic })),
  );
  const byIndex = new Map(
    units.flatMap((unit, u) => unit.map(({ index }, i) => [index, answers[u]?.[i] as Answer] as const)),
  );
  const refused = [...byIndex.values()].find((answer) => 'refusal' in answer);
  if (atomic && refused && 'refusal' in refused) {
    // Also of those that were answered with a job: none of them was admitted.
    await Promise.all(wanted.map(({ request }) => dropLongInput(api, request)));
    throw refused.refusal;
  }
  return byIndex;
}

/** One line of the answer, as JSON text. */
async function resultOf(
  api: Api,
  request: FastifyRequest,
  { item, answer, index }: { item: Item; answer: Answer | null; index: number },
): Promise<string> {
  try {
    if ('refusal' in item) throw item.refusal;
    if (!answer) throw new Error('admission gave no answer');
    if ('refusal' in answer || answer.replayed) await dropLongInput(api, item.request);
    const job = accepted(answer, item);
    const { json } = await api.shower.render(null, callerOf(request), job);
    return `{"index":${index},"status":${isFinal(job.status) ? 200 : 202},"job":${json}}`;
  } catch (error) {
    const known = toAppError(error);
    noteFailure(api.ctx, request, known);
    const path = pathOf(request.url);
    return JSON.stringify({ index, status: known.status, error: errorBody(known, { path, id: request.id }) });
  }
}
