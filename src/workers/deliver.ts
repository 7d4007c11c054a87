// The delivering worker: looks for webhooks that are due when it is rung, when a call has ended, and once a second.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { openDelivery, type Claimed } from '../flow/deliver.ts';

export interface Delivering {
  /** Calls under way. */
  running(): number;
  /** Takes nothing more, and waits for the calls under way; none takes longer than 15 s. */
  drain(forMs: number): Promise<void>;
}

/** Looks by itself so often: what is due by time alone, or was rung for in vain. */
const LOOK_MS = 1_000;
/** What one account may have of this worker's calls, as a part of all: so that its hanging receivers leave room. */
const SHARE = 1 / 4;
const QUIET_MS = 20;

/** @param concurrency calls at once */
export function startDelivering(ctx: Context, { concurrency }: { concurrency: number }): Delivering {
  const delivery = openDelivery(ctx);
  const perAccount = Math.max(1, Math.floor(concurrency * SHARE));
  const byAccount = new Map<string, number>();
  let calling = 0;
  let stopped = false;
  /** Something may be due anywhere; and lanes of which a call has just ended. */
  let wanted = false;
  const freed = new Set<string>();
  let working: Promise<void> | null = null;
  let failing = false;

  const room = () => ({ limit: concurrency - calling, perAccount, underWay: byAccount });

  const call = async (claimed: Claimed): Promise<void> => {
    const { accountId, lane } = claimed;
    calling += 1;
    byAccount.set(accountId, (byAccount.get(accountId) ?? 0) + 1);
    try {
      await delivery.deliver(claimed);
    } catch (error) {
      // It is due again once its caller is taken for dead.
      ctx.log.warn({ err: error, delivery: claimed.id }, 'what came of a webhook call could not be written');
    } finally {
      calling -= 1;
      const left = (byAccount.get(accountId) ?? 1) - 1;
      // It had as many as it may: what waits for that waits in other lanes, too.
      wanted ||= left + 1 >= perAccount;
      if (left === 0) byAccount.delete(accountId);
      else byAccount.set(accountId, left);
      freed.add(lane);
      work();
    }
  };

  /** From where a call has just ended, while there is room: nothing has to be looked for. */
  const takeNext = async (): Promise<void> => {
    const lanes = [...freed];
    freed.clear();
    for (const claimed of await delivery.takeOf(lanes, room())) void call(claimed);
  };

  /** From all lanes; all of them have their turn, so that those that are full cannot keep the rest waiting. */
  const takeAny = async (): Promise<void> => {
    const { taken, more } = await delivery.take(room());
    for (const claimed of taken) void call(claimed);
    wanted ||= more;
  };

  const mayTake = (): boolean => !stopped && calling < concurrency && (wanted || freed.size > 0);

  /** One take at a time, for as long as there is something to be taken. */
  function work(): void {
    if (working !== null || !mayTake()) return;
    working = (async () => {
      while (mayTake()) {
        const full = calling + freed.size > concurrency / 2;
        if (freed.size > 0 && !full) await takeNext();
        if (!wanted && !full) continue;
        wanted = false;
        if (full) freed.clear();
        await takeAny();
      }
      failing = false;
    })()
      .catch((error: unknown) => {
        if (!failing) ctx.log.warn({ err: error }, 'webhooks that are due could not be looked for');
        failing = true;
        // The next look will find all of it.
        wanted = false;
        freed.clear();
      })
      .finally(() => {
        working = null;
        work();
      });
  }

  const look = (): void => {
    wanted = true;
    work();
  };
  const unsubscribe = ctx.bus.subscribe(({ type }) => {
    if (type === 'deliveries' || type === 'missed') look();
  });
  const timer = setInterval(look, LOOK_MS);
  look();
  return {
    running: () => calling,
    async drain(forMs) {
      stopped = true;
      unsubscribe();
      clearInterval(timer);
      const until = performance.now() + forMs;
      await working;
      while (calling > 0 && performance.now() < until) await sleep(QUIET_MS);
      if (calling > 0) ctx.log.warn({ calls: calling }, 'webhook calls are left; others will repeat them');
    },
  };
}
