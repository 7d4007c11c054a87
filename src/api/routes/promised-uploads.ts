// Bytes that do not come with the request that makes their artifact: they are promised, and sent to a URL (contract 15).
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PassThrough, type Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import type { Context } from '../../context.ts';
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { isId } from '../../domain/ids.ts';
import { promiseUpload, receiveUpload } from '../../flow/promised-upload.ts';
import { ARTIFACT_MAX_BYTES } from '../../flow/upload.ts';
import { findArtifactById } from '../../store/artifacts.ts';
import type { Api } from '../api.ts';
import { artifactView, presentArtifact } from '../artifact-view.ts';
import { refuseEncoding } from '../body.ts';
import { Fetch } from '../fetch-upload.ts';
import { linkSignature, verifyLink } from '../links.ts';
import { At } from '../shapes.ts';
import { ArtifactAnswer } from '../shapes-account.ts';
import { compile, exceptBody, invalid } from '../validate.ts';

const PromiseForm = Type.Object(
  {
    content_type: Type.String({ pattern: '^[\\w.+-]{1,60}/[\\w.+-]{1,60}$' }),
    bytes: Type.Integer({ minimum: 1, maximum: ARTIFACT_MAX_BYTES }),
    sha256: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
  },
  {
    additionalProperties: false,
    description:
      'A promise of bytes, which are then sent to `upload.url`: that is how larger ones should come, from about 25 MiB on.',
  },
);

/** What an artifact is made of: bytes, an address of theirs, or a promise. */
export const ARTIFACT_BODIES = {
  'multipart/form-data': {
    schema: Type.Object({ file: Type.String({ format: 'binary' }) }, { additionalProperties: false }),
  },
  'application/json': { schema: Type.Union([Fetch, PromiseForm]) },
};

const UploadAnswer = Type.Object(
  {
    method: Type.Literal('PUT'),
    url: Type.String(),
    headers: Type.Unsafe<Record<string, string>>({
      type: 'object',
      additionalProperties: { type: 'string' },
    }),
    expires_at: At,
  },
  { description: 'Where to send the bytes that were promised, with these headers and in one piece.' },
);

export const ArtifactMade = Type.Object(
  { ...ArtifactAnswer.properties, upload: Type.Optional(UploadAnswer) },
  { description: 'An artifact; of one that was promised also where its bytes go' },
);

const checkPromise = compile(PromiseForm);

/** Whether the body is JSON that means a promise; one that names a `url` means something else. */
export const isPromise = ({ body }: FastifyRequest): boolean =>
  typeof body === 'object' && body !== null && !('url' in body);

/** Answers a promise. @throws AppError invalid_request */
export async function answerPromise(
  ctx: Context,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (!checkPromise(request.body)) throw invalid(checkPromise.errors ?? [], '');
  const { content_type, bytes, sha256 = null } = request.body as Static<typeof PromiseForm>;
  const contentType = content_type.toLowerCase();
  const { accountId } = request.caller;
  const { artifact, url, expiresAt } = await promiseUpload(ctx, accountId, { contentType, bytes, sha256 });
  const upload = {
    method: 'PUT',
    url: url ?? ownUrl(ctx, artifact.id, expiresAt),
    headers: { 'content-type': contentType },
    expires_at: expiresAt,
  };
  reply.code(201).header('location', `/v1/artifacts/${artifact.id}`);
  return reply.send({ ...artifactView(artifact), upload });
}

function ownUrl(ctx: Context, id: string, until: Date): string {
  const expires = Math.floor(until.getTime() / 1000);
  const signature = linkSignature(ctx.secrets.keys, { id, expires }, 'upload');
  return `${ctx.publicUrl()}/v1/artifacts/${id}/content?expires=${expires}&signature=${signature}`;
}

/** Takes promised bytes where clients cannot reach the storage. The signature in the URL says who may. */
export function promisedUploadRoutes(scope: FastifyInstance, { ctx }: Api): void {
  scope.removeAllContentTypeParsers();
  // As it comes, and not into memory.
  scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));

  scope.put<{ Params: { id: string }; Querystring: { expires: number; signature: string } }>(
    '/v1/artifacts/:id/content',
    {
      bodyLimit: ARTIFACT_MAX_BYTES,
      schema: {
        // Nobody makes up this address: it is taken from `upload.url`, as one of an S3 server's would be.
        hide: true,
        consumes: ['*/*'],
        params: Type.Object({ id: Type.String() }),
        querystring: Type.Object(
          { expires: Type.Integer(), signature: Type.String() },
          { additionalProperties: false },
        ),
        body: Type.String({ format: 'binary' }),
        response: { 204: Type.Null() },
      },
      validatorCompiler: exceptBody,
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!isId('art', id) || !verifyLink(ctx.secrets.keys, { id, ...request.query }, 'upload'))
        throw new AppError('not_found', { message: 'The link is not valid any more.' });
      const artifact = presentArtifact(await findArtifactById(ctx.flow, id));
      refuseEncoding(request);
      // Looked at, it may be called something else than was promised.
      if (artifact.pending) assertHeaders(request, artifact);
      await receiveUpload(ctx, artifact, bodyOf(request)).catch((error: unknown) => {
        // What still comes is let pass, so that the client gets to read the answer.
        request.raw.unpipe();
        request.raw.resume();
        throw request.raw.destroyed ? brokenOff(error) : error;
      });
      return reply.code(204).send();
    },
  );
}

/** The body, of which a reader may break off without the connection being closed. */
function bodyOf({ raw }: FastifyRequest): Readable {
  const content = raw.pipe(new PassThrough());
  raw.once('close', () => {
    if (!raw.complete) content.destroy(new Error('aborted'));
  });
  return content;
}

function assertHeaders(
  { headers }: FastifyRequest,
  { contentType, bytes }: { contentType: string; bytes: number },
): void {
  if (headers['content-type']?.toLowerCase() !== contentType)
    throw new AppError('unsupported_media_type', {
      message: `Send it as ${contentType}, as it was promised.`,
      details: { accept: [contentType] },
      headers: { accept: contentType },
    });
  const length = headers['content-length'];
  if (length === undefined || Number(length) === bytes) return;
  throw invalidRequest({
    path: 'content-length',
    message: `must be ${bytes}, as it was promised`,
    expected: bytes,
    received: Number(length),
  });
}

function brokenOff(error: unknown): unknown {
  if (error instanceof AppError) return error;
  return new AppError('invalid_request', { message: 'The body broke off before its end.', cause: error });
}
