// From a submission to its job: the same for every way it may come.
import { crashPoint } from '../crash.ts';
import { fittingBound } from '../domain/bounds.ts';
import type { Job } from '../domain/job-view.ts';
import { rawMember } from '../domain/json-members.ts';
import type { Answer, Request } from '../flow/admit.ts';
import { type Prepared, storeLongInput } from '../flow/submit.ts';
import type { Api } from './api.ts';

/** @returns `replayed`: an earlier request with its key made the job. @throws AppError its refusal */
export async function admitJob(api: Api, prepared: Prepared): Promise<{ job: Job; replayed: boolean }> {
  const asked = await storeLongInput(api.ctx, prepared.request);
  const [answer] = await api.admit({ requests: [asked], atomic: false });
  if (!answer) throw new Error('admission gave no answer');
  if ('refusal' in answer || answer.replayed) await dropLongInput(api, asked);
  const job = accepted(answer, prepared);
  crashPoint('respond-before');
  return { job, replayed: 'replayed' in answer && answer.replayed };
}

/** The members of a submission that travel on as they came. */
export function rawParts(text: string): { inputJson: string; metadataJson: string } {
  return { inputJson: rawMember(text, 'input') ?? '{}', metadataJson: rawMember(text, 'metadata') ?? '{}' };
}

/** The job of an answer. @throws AppError its refusal, which also names the bound that the balance would have carried */
export function accepted(answer: Answer, { worst, model }: Prepared): Job {
  if ('job' in answer) return answer.job;
  const { refusal } = answer;
  if (refusal.code === 'out_of_credits') {
    const available = BigInt(refusal.details['available'] as number);
    refusal.details['bound_that_fits'] = fittingBound(worst, model, available);
  }
  throw refusal;
}

/** What a refused or replayed submission had put into storage. Best effort: the sweep removes orphans. */
export async function dropLongInput({ ctx }: Api, { inputKey }: Request): Promise<void> {
  if (inputKey !== null) await ctx.storage.remove(inputKey).catch(() => {});
}
