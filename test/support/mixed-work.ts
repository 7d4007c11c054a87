// Jobs of every kind, some of whose calls go wrong in every way that a repeat can mend.
import type { TestAccount } from './accounts.ts';
import type { Dice } from './dice.ts';

const FAULTS = ['429', '429-retry-after', '500', 'cut', 'malformed', 'billed-then-lost', 'async'] as const;

/** Three of ten have a fault, at their first call. */
function behaviour(dice: Dice): Record<string, unknown> {
  const latency_ms = 5 + dice.below(60);
  return dice.rolls(0.3)
    ? { latency_ms, fault: FAULTS[dice.below(FAULTS.length)], times: 1 }
    : { latency_ms };
}

/** Something to hear: an artifact of the account's own. */
async function speech(account: TestAccount): Promise<string> {
  const spoken = await account.run({ model: 'sim/tts', input: { input: 'water' } });
  return spoken.output.audio.artifact_id as string;
}

/** Submits so many and answers their ids: mostly chats, streamed or not, and a fifth of each other kind. */
export async function submitMixed(
  account: TestAccount,
  { count, dice }: { count: number; dice: Dice },
): Promise<string[]> {
  const artifact = await speech(account);
  const one = (n: number): Record<string, unknown> => {
    const sim = behaviour(dice);
    switch (n % 5) {
      case 0:
        return { model: 'sim/image', input: { prompt: `mill ${n}`, size: '64x64', sim } };
      case 1:
        return { model: 'sim/tts', input: { input: `sack ${n}`, sim } };
      case 2:
        return { model: 'sim/stt', input: { artifact, sim } };
      default:
        return {
          model: 'sim/chat',
          input: {
            messages: [{ role: 'user', content: `grain ${n}` }],
            max_tokens: 20,
            stream: n % 2 === 0,
            sim,
          },
        };
    }
  };
  const jobs = Array.from({ length: count }, (_, n) => one(n));
  return Promise.all(jobs.map(async (job) => (await account.submit(job)).id as string));
}
