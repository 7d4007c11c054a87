import type { paths } from './schema.ts';

type Json<T> = T extends { content: { 'application/json': infer Body } } ? Body : never;

/** POST /v1/jobs takes it. */
export type Submission = paths['/v1/jobs']['post']['requestBody']['content']['application/json'];
/** A job as it is now. */
export type Job = Json<paths['/v1/jobs/{id}']['get']['responses'][200]>;

/** A fact about the account or one of its jobs, the same on every channel. Ignore types that you do not know. */
export interface MillraceEvent {
  id: string;
  object: 'event';
  type: string;
  timestamp: string;
  api_version: 'v1';
  livemode: boolean;
  account_id: string;
  /** Its number within the account: keep it, and go on from it. */
  sequence: number;
  data: Record<string, unknown>;
}

/** What a job's own stream tells. `id` is where to go on from after it; null for a note that is not kept. */
export interface JobMessage {
  id: string | null;
  /** `job.delta`, `job.running`, `job.reset`, … or a numbered event's type, whose `data` is a MillraceEvent. */
  type: string;
  data: Record<string, unknown>;
}

/** After one of these a job changes no more. */
export const TERMINAL: ReadonlySet<string> = new Set([
  'job.succeeded',
  'job.failed',
  'job.canceled',
  'job.expired',
]);
