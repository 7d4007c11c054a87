// multipart/form-data, whole in memory: RFC 7578 as far as browsers, curl and the vendors' SDKs use it.
import { invalid } from './answer.ts';

export interface Form {
  fields: Map<string, string>;
  files: Map<string, Buffer>;
}

const BLANK_LINE = Buffer.from('\r\n\r\n');

/** @throws SimError 400 */
export function formOf(body: Buffer, contentType: string | undefined): Form {
  const match = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  if (!boundary) throw invalid('The body must be multipart/form-data.');
  const form: Form = { fields: new Map(), files: new Map() };
  // Every boundary but the first follows a line break that is not part of the data before it.
  const separator = Buffer.from(`\r\n--${boundary}`);
  const first = body.indexOf(separator.subarray(2));
  if (first < 0) throw invalid('The form has no parts.');
  for (let at = first + separator.length - 2; ;) {
    if (body.toString('latin1', at, at + 2) === '--') return form;
    const end = body.indexOf(separator, at);
    const blank = body.indexOf(BLANK_LINE, at);
    if (end < 0 || blank < 0 || blank > end) throw invalid('The form ends in the middle of a part.');
    part(form, body.toString('utf8', at, blank), body.subarray(blank + BLANK_LINE.length, end));
    at = end + separator.length;
  }
}

function part(form: Form, head: string, data: Buffer): void {
  const disposition = /^content-disposition:\s*form-data(.*)$/im.exec(head)?.[1] ?? '';
  const name = /;\s*name="([^"]*)"/i.exec(disposition)?.[1];
  if (name === undefined) throw invalid('A part of the form has no name.');
  if (/;\s*filename\*?=/i.test(disposition)) form.files.set(name, data);
  else form.fields.set(name, data.toString('utf8'));
}
