// What lies outside the database and yet belongs to it: the pepper of its keys, the keys of its secrets, the folder of its
// artifacts. A process that was started with another's would refuse every key, open no secret, or find no bytes; so it is
// not started.
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Context } from './context.ts';
import type { Db } from './db/pool.ts';
import { type KeyRing, keyName } from './domain/key-ring.ts';
import { sealKeys, setSealKeys } from './store/sealed.ts';

/** @throws if keys in this database were hashed under another pepper: no key would be valid */
export async function holdPepper(db: Db, pepper: Buffer): Promise<void> {
  const mark = createHash('sha256').update('millrace.pepper').update(pepper).digest('hex');
  if ((await settingOr(db, 'pepper', mark)) === mark) return;
  throw new Error(
    "This database's API keys were made with another MILLRACE_KEY_PEPPER. " +
      'Set it to what is called pepper in secrets.json of the data folder that made them.',
  );
}

/**
 * The database names the keys that have sealed something in it; of those whoever seals has to know all, since others read
 * what it seals and it reads theirs. One leaves that list when `npm run reseal` finds nothing of it. Called under a lock.
 * @throws if one of them is not of this ring
 */
export async function holdKeys(db: Db, keys: KeyRing): Promise<void> {
  const ours = keys.map(keyName);
  const named = await sealKeys(db);
  const stranger = named.find((id) => !ours.includes(id));
  if (stranger !== undefined) {
    throw new Error(
      `This database holds secrets that were sealed with the key ${stranger}, and MILLRACE_SECRET_KEY names ${ours.join(' and ')}. ` +
        'Set it to what is called key in secrets.json of the data folder that sealed them; while a key is being replaced, to both, ' +
        'as new,old, until npm run reseal says that the old one may go.',
    );
  }
  const [first] = ours as [string];
  if (named.includes(first)) return;
  // The list was shortened while it was read: what is left there is what counts.
  if (!(await setSealKeys(db, named, [...named, first]))) await holdKeys(db, keys);
}

/**
 * Folder and database bear the same mark, which whoever starts first gives them. Called under a lock of the database.
 * @throws if the artifacts here are those of another database, or this database's are elsewhere
 */
export async function holdStorage({
  flow,
  storage,
  config,
}: Pick<Context, 'flow' | 'storage' | 'config'>): Promise<void> {
  const [here, known] = [await storage.mark(), await setting(flow, 'storage')];
  if (here !== null && here === known) return;
  if (known !== null) throw new Error(elsewhere({ storage, inBucket: config.s3 !== null }, { here, known }));
  // A first start that died half-way leaves a mark and no bytes. With bytes it is another's, whose sweep and ours would
  // remove what the other keeps.
  if (here !== null && (await hasBytes(storage))) {
    const own = config.s3 ? 'Set S3_BUCKET or S3_PREFIX to a place' : 'Set MILLRACE_DATA_DIR to a folder';
    throw new Error(
      `The artifacts in ${storage.place} belong to another database. ${own} of this database's own, or if ` +
        `that one is gone for good, remove ${storage.place}.`,
    );
  }
  const mark = here ?? randomUUID();
  if (here === null) await storage.setMark(mark);
  await settingOr(flow, 'storage', mark);
}

/** What to do where the bytes are not that the database names. */
function elsewhere(
  { storage: { place }, inBucket }: { storage: Context['storage']; inBucket: boolean },
  { here, known }: { here: string | null; known: string },
): string {
  const mark = inBucket ? `the object ${place}storage-id` : join(place, 'storage-id');
  const lost = here === null ? `, or if it is lost for good, write ${known} into ${mark}` : '';
  const moving = 'docs/operating.md says how artifacts are moved';
  if (inBucket)
    return (
      `This database's artifacts are not in ${place}. Set S3_BUCKET, S3_PREFIX and S3_ENDPOINT to the place that holds them, or ` +
      `none of them if that is still a folder; ${moving}${lost}.`
    );
  return (
    `This database's artifacts are not in ${place}. All roles share one such folder: set MILLRACE_DATA_DIR to the one that ` +
    `holds it; or set S3_BUCKET, if they are in a bucket or shall be, which is how several machines share them ` +
    `(${moving})${lost}.`
  );
}

async function hasBytes(storage: Context['storage']): Promise<boolean> {
  for await (const _ of storage.list()) return true;
  return false;
}

async function setting(db: Db, name: string): Promise<string | null> {
  const { rows } = await db.query<{ value: string }>('select value from settings where name = $1', [name]);
  return rows[0]?.value ?? null;
}

/** What the setting is, which is `value` if it was nothing yet. */
async function settingOr(db: Db, name: string, value: string): Promise<string | undefined> {
  const { rows } = await db.query<{ value: string }>(
    'insert into settings (name, value) values ($1, $2) on conflict (name) do update set name = excluded.name returning value',
    [name, value],
  );
  return rows[0]?.value;
}
