// A webhook secret at rest opens for its own endpoint alone.
import type { Context } from '../context.ts';
import { openSeal, seal } from './seal.ts';

export const sealSecret = ({ secrets }: Context, endpointId: string, secret: string): Buffer =>
  seal(secrets.keys, `endpoint:${endpointId}`, secret);

/** @throws Error if it was sealed with a key that this process does not have */
export const openSecret = ({ secrets }: Context, endpointId: string, sealed: Buffer): string =>
  openSeal(secrets.keys, `endpoint:${endpointId}`, sealed);
