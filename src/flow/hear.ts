// Before a call: what its input refers to is brought, audio or an image, and that may be stopped as a call may.
import type { Context } from '../context.ts';
import type { Call } from '../providers/provider.ts';
import type { Claimed } from '../store/claims.ts';
import type { Brake } from './brake.ts';
import { type Ended, failed, stopped } from './conclude.ts';
import { type Hearing, openAudio, Unheard } from './open-audio.ts';

/** The audio, which may have to be fetched first; or the end of an attempt that has none. */
export async function hear(
  ctx: Context,
  { claimed, input, brake }: { claimed: Hearing & Pick<Claimed, 'remainingMs'>; input: string; brake: Brake },
): Promise<Pick<Call, 'artifact'> | Ended> {
  const signal = AbortSignal.any([brake.asked, brake.leaving]);
  const deadline = setTimeout(() => brake.pull('deadline'), claimed.remainingMs);
  try {
    return { artifact: await openAudio(ctx, claimed, { input, signal }) };
  } catch (error) {
    // Ours, and not of a fetch: a vendor may be at work on what was fetched before.
    if (!(error instanceof Unheard) && error !== signal.reason) throw error;
    if (brake.leaving.aborted)
      return { outcome: { type: 'interrupted', used: null }, evidence: null, artifacts: [] };
    if (brake.asked.aborted) return stopped(brake.asked.reason as 'cancel' | 'deadline');
    return failed(error as Unheard);
  } finally {
    clearTimeout(deadline);
  }
}
