// Artifacts: inputs and outputs are one noun (contract 15).
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { AppError } from '../../domain/errors.ts';
import { isId } from '../../domain/ids.ts';
import { turnPage } from '../../domain/page.ts';
import { dropUploaded, usable } from '../../flow/promised-upload.ts';
import { keepUpload } from '../../flow/upload.ts';
import { StorageMissing } from '../../storage/storage.ts';
import {
  findArtifact,
  findArtifactById,
  listArtifacts,
  markArtifactDeleted,
  type StoredArtifact,
} from '../../store/artifacts.ts';
import type { Api } from '../api.ts';
import { artifactView, presentArtifact } from '../artifact-view.ts';
import type { Authenticator } from '../auth.ts';
import { linkSignature, verifyLink } from '../links.ts';
import { type PageQuery, pageQuery, sendPage, turnOf } from '../page.ts';
import { parseRange } from '../range.ts';
import { readUpload } from '../upload.ts';
import { exceptBody } from '../validate.ts';
import { listOf } from '../shapes.ts';
import { assertWithin, Ticket, TICKET_OR_KEY } from '../ticket-scope.ts';
import { ArtifactAnswer } from '../shapes-account.ts';
import { answerPromise, ARTIFACT_BODIES, ArtifactMade, isPromise } from './promised-uploads.ts';

const Id = Type.Object({ id: Type.String() });
const Bytes = {
  description: "The bytes, under the artifact's own content type",
  content: { '*/*': { schema: Type.String({ format: 'binary' }) } },
};
/** Whoever is sent on to the storage goes there at once. */
const SENT_ON_S = 300;
const LINK_MIN_S = 900;
const LINK_MAX_S = 604_800;

export function artifactRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.post(
    '/v1/artifacts',
    {
      schema: {
        tags: ['artifacts'],
        summary: 'Upload an artifact',
        description:
          'As multipart/form-data with one field `file`, or as JSON with a `url` that is fetched; to 100 MiB. Or promised in JSON, and ' +
          'then sent to `upload.url`: such an artifact is refused until its bytes are there, listed once it was first used, and ' +
          'given up after two hours.',
        consumes: Object.keys(ARTIFACT_BODIES),
        body: { content: ARTIFACT_BODIES },
        response: { 201: ArtifactMade },
      },
      // A form is read as it comes, and judged part by part.
      validatorCompiler: exceptBody,
    },
    async (request, reply) => {
      if (isPromise(request)) return answerPromise(ctx, request, reply);
      const upload = await readUpload(ctx, request);
      const artifact = await keepUpload(ctx, request.caller.accountId, upload);
      return reply.code(201).header('location', `/v1/artifacts/${artifact.id}`).send(artifactView(artifact));
    },
  );

  app.get<{ Querystring: PageQuery }>(
    '/v1/artifacts',
    {
      schema: {
        tags: ['artifacts'],
        summary: 'List artifacts',
        querystring: Type.Object(pageQuery('art'), { additionalProperties: false }),
        response: { 200: listOf(ArtifactAnswer) },
      },
    },
    async (request, reply) => {
      const { accountId } = request.caller;
      const asked = turnOf(request.query, 'desc');
      const { rows, hasMore, next } = await readAs(ctx.client, accountId, (tx) =>
        turnPage(asked, (turn) => listArtifacts(tx, { accountId, ...turn })),
      );
      return sendPage(reply, {
        items: rows.map((row) => JSON.stringify(artifactView(row))),
        hasMore,
        next: next?.id ?? null,
      });
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/artifacts/:id',
    {
      schema: {
        tags: ['artifacts'],
        summary: 'Look at an artifact',
        params: Id,
        response: { 200: ArtifactAnswer },
      },
    },
    async (request) => artifactView(await usable(ctx, await own(request), 'id')),
  );

  app.delete<{ Params: { id: string } }>(
    '/v1/artifacts/:id',
    {
      schema: {
        tags: ['artifacts'],
        summary: 'Delete an artifact',
        params: Id,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const artifact = await own(request);
      await markArtifactDeleted(ctx.flow, artifact.accountId, artifact.id);
      // The bytes may be another artifact's, too. The sweep removes them once they are nobody's.
      if (artifact.pending) await dropUploaded(ctx, artifact);
      return reply.code(204).send();
    },
  );

  app.post<{ Params: { id: string }; Body: { expires_in_s: number } }>(
    '/v1/artifacts/:id/links',
    {
      schema: {
        tags: ['artifacts'],
        summary: 'Make a link that needs no key',
        params: Id,
        body: Type.Object(
          { expires_in_s: Type.Integer({ minimum: LINK_MIN_S, maximum: LINK_MAX_S }) },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ url: Type.String(), expires_at: Type.String() }) },
      },
    },
    async (request, reply) => {
      const { id } = await usable(ctx, await own(request), 'id');
      const expires = Math.floor(Date.now() / 1000) + request.body.expires_in_s;
      const signature = linkSignature(ctx.secrets.keys, { id, expires });
      const url = `${ctx.publicUrl()}/v1/artifacts/${id}/content?expires=${expires}&signature=${signature}`;
      return reply.code(201).send({ url, expires_at: new Date(expires * 1000).toISOString() });
    },
  );

  async function own(request: FastifyRequest<{ Params: { id: string } }>): Promise<StoredArtifact> {
    const { id } = request.params;
    const { accountId } = request.caller;
    const found = isId('art', id)
      ? await readAs(ctx.client, accountId, (tx) => findArtifact(tx, accountId, id))
      : null;
    return presentArtifact(found);
  }
}

/** The bytes: for their owner by key, for anybody by a signed link. */
export function linkedArtifactRoutes(app: FastifyInstance, { ctx }: Api, authenticator: Authenticator): void {
  app.get<{ Params: { id: string }; Querystring: { expires?: number; signature?: string; ticket?: string } }>(
    '/v1/artifacts/:id/content',
    {
      schema: {
        tags: ['artifacts'],
        summary: "An artifact's bytes",
        description:
          'By key, by a link from POST /v1/artifacts/:id/links, or by a ticket for the job that it came of. Takes a Range. Where clients ' +
          'can reach the storage they are sent there, to a URL that is good for five minutes.',
        security: [...TICKET_OR_KEY, {}],
        params: Id,
        querystring: Type.Object(
          { expires: Type.Optional(Type.Integer()), signature: Type.Optional(Type.String()), ticket: Ticket },
          { additionalProperties: false },
        ),
        response: {
          200: Bytes,
          206: Bytes,
          302: { description: 'The bytes are at `Location`, which needs no key', type: 'null' },
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { expires, signature } = request.query;
      if (!isId('art', id)) {
        await authenticator.clientOrTicket(request);
        throw new AppError('not_found');
      }
      if (signature !== undefined && expires !== undefined) {
        if (!verifyLink(ctx.secrets.keys, { id, expires, signature }))
          throw new AppError('not_found', { message: 'The link is not valid any more.' });
        const named = presentArtifact(await findArtifactById(ctx.flow, id));
        // Where a link leads is good for no longer than the link.
        const leftS = Math.ceil(expires - Date.now() / 1000);
        return sendContent(request, reply, { named, linkS: Math.max(1, Math.min(SENT_ON_S, leftS)) });
      }
      await authenticator.clientOrTicket(request);
      const { accountId } = request.caller;
      const named = presentArtifact(
        await readAs(ctx.client, accountId, (tx) => findArtifact(tx, accountId, id)),
      );
      assertWithin(request.ticket, named.jobId);
      return sendContent(request, reply, { named, linkS: SENT_ON_S });
    },
  );

  /** As an attachment and never sniffed: what a model made must not run as a page of ours. */
  async function sendContent(
    request: FastifyRequest,
    reply: FastifyReply,
    { named, linkS }: { named: StoredArtifact; linkS: number },
  ): Promise<FastifyReply> {
    const artifact = presentArtifact(await usable(ctx, named, 'id'));
    const elsewhere = request.method === 'HEAD' ? null : await linkTo(artifact, linkS);
    if (elsewhere !== null)
      return reply.code(302).headers({ location: elsewhere, 'cache-control': 'private, no-store' }).send();
    const range = parseRange(request.headers.range, artifact.bytes);
    // Of what a HEAD is answered nothing is sent: one byte shows that they are there.
    const looked = request.method === 'HEAD' && artifact.bytes > 0 ? { start: 0, end: 0 } : range;
    const content = await ctx.storage
      .open(artifact.storageKey, looked ?? undefined)
      .catch((error: unknown) => missing(artifact, error));
    reply
      .type(artifact.contentType)
      .header('accept-ranges', 'bytes')
      .header('content-disposition', `attachment; filename="${artifact.id}"`)
      .header('cache-control', 'private, max-age=3600')
      .header('x-content-type-options', 'nosniff')
      // Links are for the pages of others; whoever has one may show what it leads to.
      .header('cross-origin-resource-policy', 'cross-origin')
      .header('content-length', range ? range.end - range.start + 1 : artifact.bytes);
    if (range) reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${artifact.bytes}`);
    return reply.send(content);
  }

  /** A URL at the storage itself, if clients reach that, and the bytes are there. */
  async function linkTo(artifact: StoredArtifact, expiresInS: number): Promise<string | null> {
    const { id: filename, contentType, storageKey } = artifact;
    const url = await ctx.storage.linkOut(storageKey, { contentType, filename, expiresInS });
    // If they are missing, that is for us to say.
    return url !== null && (await ctx.storage.age(storageKey)) !== null ? url : null;
  }

  /** Deleted while it was asked for; else it should be there, and somebody has to look for it. */
  async function missing({ id }: StoredArtifact, error: unknown): Promise<never> {
    if (!(error instanceof StorageMissing)) throw error;
    presentArtifact(await findArtifactById(ctx.flow, id));
    ctx.log.error({ artifact: id, storage: ctx.storage.place }, 'the bytes of an artifact are missing');
    throw new AppError('storage_unavailable');
  }
}
