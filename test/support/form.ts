// multipart/form-data as a vendor reads it, with the names and types of its files.

export interface FilePart {
  field: string;
  name: string;
  type: string;
  bytes: Buffer;
}

/** @throws where it is no form, or a field comes twice */
export function readForm(
  body: Buffer,
  contentType: string,
): { fields: Record<string, string>; files: FilePart[] } {
  const boundary = /^multipart\/form-data; boundary=([\w-]{20,70})$/.exec(contentType)?.[1];
  if (boundary === undefined) throw new Error(`no form: ${contentType}`);
  const form: ReturnType<typeof readForm> = { fields: {}, files: [] };
  const parts = `\r\n${body.toString('latin1')}`.split(`\r\n--${boundary}`);
  if (parts.shift() !== '' || parts.pop() !== '--\r\n')
    throw new Error('the form does not begin or end as one');
  for (const part of parts) {
    const blank = part.indexOf('\r\n\r\n');
    const head = part.slice(0, blank);
    const bytes = Buffer.from(part.slice(blank + 4), 'latin1');
    const [, field, , name] =
      /content-disposition: form-data; name="([^"]+)"(; filename="([^"]+)")?/.exec(head) ?? [];
    if (field === undefined) throw new Error(`a part without a name: ${head}`);
    const type = /content-type: (\S+)/.exec(head)?.[1] ?? '';
    if (name !== undefined) form.files.push({ field, name, type, bytes });
    else if (field in form.fields) throw new Error(`twice: ${field}`);
    else form.fields[field] = bytes.toString();
  }
  return form;
}
