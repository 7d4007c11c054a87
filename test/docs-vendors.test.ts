// docs/vendors.md, held to the code.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ModelDataForm, RouteDataForm } from '../src/api/routes/admin-forms.ts';
import { KINDS } from '../src/domain/job.ts';
import { unitsOf } from '../src/domain/pricing.ts';
import { USUAL_FIELDS } from '../src/domain/usual-fields.ts';

const text = readFileSync(join(import.meta.dirname, '../docs/vendors.md'), 'utf8');
/** The rows of each table, as lists of cells, its head left out. */
const [kinds = [], data = [], tokens = []] = text.split(/\n## /).map((section) =>
  section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    ),
);
const names = (cell = ''): string[] => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name as string);

it('says of each kind by what it is sold and which fields go up', () => {
  const rows = new Map(kinds.map((row) => [row[0], row]));
  for (const kind of KINDS) {
    const [, , sold = '', fields] = rows.get(`\`${kind}\``) ?? [];
    const [own = []] = unitsOf(kind);
    for (const unit of own) expect(sold).toContain(`\`${unit}\``);
    expect(/or tokens/.test(sold)).toBe(unitsOf(kind).length > 1);
    if (kind === 'chat') continue;
    // How the audio comes is our matter, and `bounds` is not a field.
    const usual = USUAL_FIELDS[kind].filter((name) => !/^(artifact|url|audio|max_seconds)$/.test(name));
    expect(
      names(fields)
        .filter((name) => name !== 'bounds')
        .toSorted(),
    ).toEqual(usual.toSorted());
  }
});

it('says what each member of a route’s data is for, and of no other, but those of other providers', () => {
  const ours = Object.entries(RouteDataForm.properties).filter(
    ([, schema]) => !(schema as { description?: string }).description?.startsWith('replicate:'),
  );
  expect(data.map(([name]) => names(name)[0]).toSorted()).toEqual(ours.map(([name]) => name).toSorted());
});

it('names the data that bound tokens as the model’s data know them', () => {
  const known = Object.keys(ModelDataForm.properties);
  const named = tokens.flatMap(([, cell]) => names(cell));
  expect(named).toHaveLength(5);
  for (const name of named) expect(known).toContain(name);
});
