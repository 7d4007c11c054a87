// What our documents ask of curl, for machines that have none: sends what its arguments say, prints the answer's body.
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    silent: { type: 'boolean', short: 's' },
    'no-buffer': { type: 'boolean', short: 'N' },
    location: { type: 'boolean', short: 'L', default: false },
    request: { type: 'string', short: 'X' },
    header: { type: 'string', short: 'H', multiple: true, default: [] },
    data: { type: 'string', short: 'd' },
    'upload-file': { type: 'string', short: 'T' },
    form: { type: 'string', short: 'F' },
    output: { type: 'string', short: 'o' },
    'write-out': { type: 'string', short: 'w', default: '' },
  },
});
const headers = values.header.map((line): [string, string] => {
  const [name = '', ...rest] = line.split(':');
  return [name.trim(), rest.join(':').trim()];
});
const file = values['upload-file'];
const sent = file === undefined ? values.data : await readFile(file);
const body = values.form === undefined ? sent : await formOf(values.form);
const method = file !== undefined ? 'PUT' : body === undefined ? 'GET' : 'POST';
const answer = await fetch(positionals[0] ?? '', {
  method: values.request ?? method,
  redirect: values.location ? 'follow' : 'manual',
  headers,
  ...(body === undefined ? {} : { body }),
});
const bytes = Buffer.from(await answer.arrayBuffer());
if (values.output === undefined) process.stdout.write(bytes);
else await writeFile(values.output, bytes);
process.stdout.write(
  values['write-out'].replaceAll(String.raw`\n`, '\n').replace('%{http_code}', `${answer.status}`),
);

/** `<field>=@<file>;type=<media type>` */
async function formOf(text: string): Promise<FormData> {
  const [, field = '', file = '', type = ''] = /^(\w+)=@([^;]+);type=(.+)$/.exec(text) ?? [];
  const form = new FormData();
  form.set(field, new Blob([await readFile(file)], { type }), basename(file));
  return form;
}
