// Submission: what a client sent becomes a priced request for admission. Nothing is written here but a long input's bytes.
import type { Context } from '../context.ts';
import { type KnownInput, type Worst, worstCase } from '../domain/bounds.ts';
import { AppError, invalidRequest } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { type Kind, PRIORITIES } from '../domain/job.ts';
import type { Model, ModelRoute } from '../domain/model.ts';
import { recognise } from '../domain/measure-sound.ts';
import { mayOutlast, UNMEASURED } from '../domain/sound.ts';
import type { PlanTerms } from '../domain/plan.ts';
import { nearest } from '../domain/nearest.ts';
import { promptSize } from '../domain/prompt.ts';
import { openRoutes } from '../domain/routes.ts';
import type { ChatInput, ImageInput, SttInput, Submission, TtsInput } from '../domain/submission.ts';
import { findArtifact, type StoredArtifact } from '../store/artifacts.ts';
import type { Request } from './admit.ts';
import { webhookUrl } from './webhook-url.ts';
import { usable } from './promised-upload.ts';
import { unfetchable } from './fetch-input.ts';
import { assertKnownFields } from './known-fields.ts';

export interface Submitter {
  accountId: string;
  keyId: string;
  livemode: boolean;
  terms: PlanTerms;
}

export interface Submitted {
  body: Submission;
  /** The `input` member as the client wrote it. */
  inputJson: string;
  /** The `metadata` member likewise: parsed keys are not to be trusted (docs/decisions/0003). */
  metadataJson: string;
  idempotency: { key: string; hash: Buffer } | null;
  clientRequestId: string | null;
}

/** A request for admission, with what a refusal for want of credits is explained by. */
export interface Prepared {
  request: Request;
  model: Model;
  worst: Worst;
}

/** Checks an input against its kind's schema. @throws AppError invalid_request */
export type AssertInput = (kind: Kind, input: unknown) => void;

const DEFAULT_DEADLINE_S = 3_600;
const INLINE_INPUT_MAX_BYTES = 64 * 1024;

/** @throws AppError any refusal that needs no look at the account's books */
export async function prepare(
  ctx: Context,
  caller: Submitter,
  {
    body,
    inputJson,
    metadataJson,
    idempotency,
    clientRequestId,
    assertInput,
  }: Submitted & { assertInput: AssertInput },
): Promise<Prepared> {
  const model = findModel(ctx, body);
  const route = chooseRoute(model, caller);
  assertInput(model.kind, body.input);
  assertKnownFields(model, route, { input: body.input, inputJson });
  const known = await knowInput(ctx, caller, { kind: model.kind, input: body.input, inputJson });
  const worst = worstCase(known, model, caller.terms);
  const request: Request = {
    ...caller,
    jobId: newId('job'),
    kind: model.kind,
    model: model.id,
    routeId: route.id,
    priceId: model.price?.id ?? '',
    priority: PRIORITIES.indexOf(body.priority ?? 'normal'),
    hold: worst.hold,
    maxCredits: body.max_credits === undefined ? null : BigInt(body.max_credits),
    tags: model.tags,
    ...deadlineOf(body, caller.terms),
    maxDeadlineS: caller.terms.maxDeadlineS,
    boundsJson: JSON.stringify(worst.bounds),
    metadataJson,
    endUser: body.end_user ?? null,
    clientRequestId,
    webhook: webhookUrl(ctx, body.webhook ?? null, 'webhook'),
    idempotency,
    inputJson,
    inputKey: null,
  };
  return { request, model, worst };
}

/** Moves a long input to storage, whose bytes are then there before the job is. */
export async function storeLongInput(ctx: Context, request: Request): Promise<Request> {
  if (request.inputJson === null || Buffer.byteLength(request.inputJson) <= INLINE_INPUT_MAX_BYTES)
    return request;
  const inputKey = `${request.accountId}/in_${request.jobId}`;
  await ctx.storage.put(inputKey, Buffer.from(request.inputJson));
  return { ...request, inputJson: null, inputKey };
}

const LIST = 'GET /v1/models lists those there are.';

function findModel(ctx: Context, { model: name, kind }: Submission): Model {
  const { models } = ctx.catalogue();
  const model = models.get(name);
  if (!model) {
    const like = nearest(name, [...models.keys()]);
    throw new AppError('model_not_found', {
      ...(like !== null && { message: `There is no such model. Did you mean ${like}? ${LIST}` }),
      details: { did_you_mean: like },
    });
  }
  if (kind !== undefined && kind !== model.kind) {
    throw new AppError('kind_mismatch', {
      message: `${model.id} is of kind ${model.kind}, not ${kind}.`,
      details: { kind: model.kind },
    });
  }
  if (!model.enabled) throw new AppError('model_unavailable', { headers: { 'retry-after': '60' } });
  return model;
}

function chooseRoute(model: Model, { livemode }: Submitter): ModelRoute {
  const [route] = openRoutes(model, { livemode });
  if (route) return route;
  if (!livemode && model.routes.some((candidate) => candidate.enabled)) {
    throw new AppError('model_not_found', {
      message: 'Test keys reach the models of `sim` only. Use a live key for this one.',
    });
  }
  throw new AppError('model_unavailable', {
    message: 'The model has no route at present.',
    headers: { 'retry-after': '60' },
  });
}

async function knowInput(
  ctx: Context,
  { accountId }: Submitter,
  { kind, input, inputJson }: { kind: Kind; input: Submission['input']; inputJson: string },
): Promise<KnownInput> {
  switch (kind) {
    case 'chat':
      return { kind, input: input as ChatInput, prompt: promptSize(inputJson) };
    case 'image': {
      const { artifact } = input as ImageInput;
      if (artifact !== undefined) await assertPicture(ctx, accountId, artifact);
      return { kind, input: input as ImageInput };
    }
    case 'tts':
      return { kind, input: input as TtsInput };
    case 'stt':
      return { kind, input: input as SttInput, audioMs: await audioMs(ctx, accountId, input as SttInput) };
  }
}

async function audioMs(
  ctx: Context,
  accountId: string,
  { artifact: id, url, audio, max_seconds: most }: SttInput,
): Promise<number | null> {
  if ([id, url, audio].filter((given) => given !== undefined).length !== 1) {
    throw invalidRequest({
      path: 'input',
      message: 'must hold exactly one of artifact, url and audio',
      expected: 'one of artifact, url, audio',
      received: 'none or several',
    });
  }
  if (url !== undefined) {
    // Fetched by the worker (docs/decisions/0014): how long it lasts is not known before.
    const never = unfetchable(ctx, url);
    if (never) throw never.refusal('input.url');
    return null;
  }
  const { bytes, durationMs } =
    audio === undefined ? await theArtifact(ctx, accountId, id ?? '') : await sentAlong(audio);
  if (durationMs === null && most !== undefined && mayOutlast(most * 1000, bytes))
    throw new AppError('input_unsupported', { message: UNMEASURED, details: { field: 'input.max_seconds' } });
  return durationMs;
}

async function sentAlong(audio: string): Promise<Pick<StoredArtifact, 'bytes' | 'durationMs'>> {
  const bytes = Buffer.from(audio, 'base64');
  return { bytes: bytes.length, durationMs: (await recognise(bytes)).durationMs };
}

/** Its sides were read from its bytes when it came: without them it is nothing that we know for an image. */
async function assertPicture(ctx: Context, accountId: string, id: string): Promise<void> {
  const { width, height } = await theArtifact(ctx, accountId, id);
  if (width !== null && height !== null) return;
  throw new AppError('input_unsupported', {
    message: 'The artifact is no PNG, JPEG or WebP image.',
    details: { field: 'input.artifact' },
  });
}

/** The artifact that an input names. @throws AppError not_found, data_deleted, input_unsupported */
async function theArtifact(ctx: Context, accountId: string, id: string): Promise<StoredArtifact> {
  const artifact = await findArtifact(ctx.flow, accountId, id);
  const details = { field: 'input.artifact' };
  if (!artifact) throw new AppError('not_found', { message: 'There is no such artifact.', details });
  if (artifact.deletedAt)
    throw new AppError('data_deleted', { message: 'The artifact was deleted.', details });
  return usable(ctx, artifact, 'input.artifact');
}

function deadlineOf(
  { deadline, expires_in }: Submission,
  { maxDeadlineS }: PlanTerms,
): Pick<Request, 'deadline' | 'deadlineNamed'> {
  if (deadline !== undefined && expires_in !== undefined) {
    throw invalidRequest({
      path: 'deadline',
      message: 'must not be given with expires_in',
      expected: 'one of deadline, expires_in',
      received: 'both',
    });
  }
  if (deadline !== undefined) return { deadline: new Date(deadline), deadlineNamed: true };
  return {
    deadline: { inSeconds: expires_in ?? Math.min(DEFAULT_DEADLINE_S, maxDeadlineS) },
    deadlineNamed: expires_in !== undefined,
  };
}
