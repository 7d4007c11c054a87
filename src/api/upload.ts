// One file out of a form, and nothing beside it.
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';
import { AppError, fieldName, invalidRequest } from '../domain/errors.ts';
import { ARTIFACT_MAX_BYTES, dropUpload, storeUpload, type Upload } from '../flow/upload.ts';
import { refuseEncoding } from './body.ts';
import { fetchFor, isFetch } from './fetch-upload.ts';

/** Forms are read where files are taken; everywhere else they are a content type like any other, and refused. */
export async function installUploads(scope: FastifyInstance): Promise<void> {
  await scope.register(multipart, {
    limits: { files: 2, fileSize: ARTIFACT_MAX_BYTES, fields: 2, parts: 4, headerPairs: 20, fieldSize: 1024 },
    throwFileSizeLimit: false,
  });
}

/**
 * The bytes of the form's field `file`, or behind a URL, in storage. The whole form is read first, to its last boundary: one that was cut
 * off is no upload.
 * @throws AppError invalid_request, unsupported_media_type, input_unsupported, input_unreachable, body_too_large,
 * too_many_connections
 */
export async function readUpload(ctx: Context, request: FastifyRequest): Promise<Upload> {
  if (isFetch(request.body)) return fetchFor(ctx, request, request.body);
  if (!request.isMultipart()) throw new AppError('unsupported_media_type');
  refuseEncoding(request);
  let upload: Upload | null = null;
  try {
    for await (const part of request.parts()) {
      if (part.type !== 'file' || part.fieldname !== 'file' || upload) throw strayPart(part, upload !== null);
      const { file: content, mimetype: contentType } = part;
      upload = await storeUpload(ctx, { content, contentType });
    }
  } catch (error) {
    // What still comes is let pass, so that the client gets to read the answer.
    request.raw.unpipe();
    request.raw.resume();
    if (upload) await dropUpload(upload);
    throw asRefusal(error, request);
  }
  if (upload) return upload;
  throw invalidRequest({ path: 'file', message: 'is required', expected: 'a file', received: null });
}

function strayPart(
  { fieldname, type }: { fieldname: string; type: 'file' | 'field' },
  second: boolean,
): AppError {
  const asText = fieldname === 'file' && type === 'field';
  return invalidRequest({
    path: fieldName(fieldname),
    message: second
      ? 'may be there once, and alone'
      : asText
        ? 'must be a file, with a filename'
        : 'is not a field we know',
    expected: 'one file, in the field "file"',
    received: asText ? 'a text' : `another ${type}`,
  });
}

/** What the parser throws at a broken form, or the socket at one cut off, is an error without a status of its own. */
function asRefusal(error: unknown, { raw }: FastifyRequest): unknown {
  const { code = '', message = '' } = error as { code?: string; message?: string };
  const broken =
    (raw.destroyed && !raw.complete) ||
    code.startsWith('FST_') ||
    /multipart|boundary|part terminated|header|unexpected end/i.test(message);
  if (error instanceof AppError || !broken) return error;
  const say =
    'The form could not be read to its end. Send multipart/form-data with a boundary and one field "file".';
  return invalidRequest(
    { path: '', message: 'is not a whole form', expected: 'multipart/form-data', received: null },
    say,
  );
}
