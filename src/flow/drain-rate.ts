import type { Admit, Answer } from './admit.ts';
import type { Shower } from './show.ts';

const WAIT_MAX_S = 60;

/** Admission whose `queue_full` says when the line will have drained, as fast as the account's jobs went of late. */
export function tellDrainRate(admit: Admit, shower: Pick<Shower, 'expectation'>): Admit {
  const tell = async (answer: Answer, accountId: string): Promise<void> => {
    if (!('refusal' in answer) || answer.refusal.code !== 'queue_full') return;
    const { waiting, slots } = answer.refusal.details as { waiting: number; slots: number };
    const { runMs } = await shower.expectation(accountId, null);
    const drainMs = ((runMs ?? 0) * waiting) / Math.max(slots, 1);
    const seconds = Math.min(WAIT_MAX_S, Math.max(1, Math.ceil(drainMs / 1000)));
    Object.assign(answer.refusal.headers, {
      'retry-after': String(seconds),
      'retry-after-ms': String(seconds * 1000),
    });
  };
  return async (unit) => {
    const answers = await admit(unit);
    await Promise.all(answers.map((answer, i) => tell(answer, unit.requests[i]?.accountId ?? '')));
    return answers;
  };
}
