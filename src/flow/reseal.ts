// What older keys have sealed is sealed anew with the first key of the ring, beside whatever runs.
import type { Context } from '../context.ts';
import { keyName } from '../domain/key-ring.ts';
import {
  type Place,
  replaceSealed,
  SEALED_PLACES,
  sealedByOthers,
  sealKeys,
  sealsByKey,
  setSealKeys,
} from '../store/sealed.ts';
import { openSeal, seal, type SealOwner } from './seal.ts';

const BATCH = 500;

export interface PlaceResealed {
  /** Table and column. */
  place: string;
  /** Of `found`, what was sealed anew; or would be. */
  resealed: number;
  found: number;
  /** Why one could not be opened; it stays as it is. */
  failures: string[];
}

export interface Resealed {
  places: PlaceResealed[];
  /** Ids, in hex, of the first key and of those that have sealed what is still there. */
  first: string;
  others: string[];
}

type Sealing = Pick<Context, 'flow' | 'secrets'>;

/**
 * Row by row only where it is still what was read, so that a secret that is changed meanwhile stays changed.
 * @param options.dryRun opens everything and writes nothing
 */
export async function reseal(
  ctx: Sealing,
  { dryRun, tell }: { dryRun: boolean; tell(place: PlaceResealed): void },
): Promise<Resealed> {
  const first = keyName(ctx.secrets.keys[0]);
  const named = await sealKeys(ctx.flow);
  const places: PlaceResealed[] = [];
  for (const place of SEALED_PLACES) places.push(await resealPlace(ctx, place, { dryRun, tell }));
  const left = await Promise.all(SEALED_PLACES.map((place) => sealsByKey(ctx.flow, place)));
  const others = [...new Set(left.flatMap((counts) => [...counts.keys()]))].filter((id) => id !== first);
  // A role that has started since then, with a key that is not in `named`, has told its own: that stays.
  if (!dryRun) await setSealKeys(ctx.flow, named, [first, ...others]);
  return { places, first, others };
}

async function resealPlace(
  { flow, secrets: { keys } }: Sealing,
  place: Place,
  { dryRun, tell }: { dryRun: boolean; tell(place: PlaceResealed): void },
): Promise<PlaceResealed> {
  const told: PlaceResealed = {
    place: `${place.table}.${place.column}`,
    resealed: 0,
    found: 0,
    failures: [],
  };
  const keyId = keys[0].id;
  for (let after = ''; ;) {
    const rows = await sealedByOthers(flow, place, { keyId, after, limit: BATCH });
    const last = rows.at(-1);
    if (!last) break;
    after = last.key;
    const anew = rows.flatMap((row) => {
      const owner: SealOwner = `${place.owner}:${row.key}`;
      try {
        return [{ ...row, anew: seal(keys, owner, openSeal(keys, owner, row.sealed)) }];
      } catch (error) {
        told.failures.push((error as Error).message);
        return [];
      }
    });
    told.found += rows.length;
    told.resealed += dryRun ? anew.length : await replaceSealed(flow, place, anew);
    if (rows.length === BATCH) tell(told);
  }
  tell(told);
  return told;
}
