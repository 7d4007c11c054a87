// What a subscriber is told, in order and without gaps: numbered events, a chat's deltas, and live-only notes between
// them. A cursor says how far one has heard; whoever comes back with it misses and repeats nothing. Channel-neutral.
import type { Context } from '../context.ts';
import type { Db } from '../db/pool.ts';
import { readAs } from '../db/transaction.ts';
import { isFinal, type Status } from '../domain/job.ts';
import { rawItems } from '../domain/json-members.ts';
import { type Hub, LOOK_ANYWAY_MS, type Watch } from '../live/hub.ts';
import { deltasFrom } from '../store/deltas.ts';
import { eventRange, eventsAfter } from '../store/events.ts';
import { findJobs, positionInLine } from '../store/jobs.ts';
import type { Job } from '../domain/job-view.ts';

/** One message to a subscriber. `id` is the cursor after it; live-only notes have none. */
export interface Frame {
  id: string | null;
  event: string;
  /** JSON text. */
  data: string;
}

/** After event `sequence`; on a job's stream also: of attempt `attempt`, `offset` deltas have been heard. */
export interface Cursor {
  sequence: bigint;
  attempt: number;
  offset: number;
}

export const START: Cursor = { sequence: 0n, attempt: 0, offset: 0 };

/** `1042` or `1041.2.312`; null if it is neither. */
export function parseCursor(text: string): Cursor | null {
  const match = /^(\d{1,18})(?:\.(\d{1,9})\.(\d{1,9}))?$/.exec(text);
  if (!match) return null;
  return { sequence: BigInt(match[1] ?? 0), attempt: Number(match[2] ?? 0), offset: Number(match[3] ?? 0) };
}

export interface Follow {
  accountId: string;
  cursor: Cursor;
  signal: AbortSignal;
}

const EVENTS_A_LOOK = 200;
const LOOK_RARELY_MS = 5_000;
const POSITION_EVERY_MS = 1_000;

// ---------------------------------------------------------------- one job

/** What one look at a job shows, as of one moment. */
interface JobLook {
  job: Job;
  events: Frame[];
  ended: Frame | null;
  deltas: { offset: number; json: string }[];
  position: number | null;
}

/** Whether a job's stream has anything left to say to this cursor. */
export async function hasMore(
  ctx: Context,
  { accountId, jobId, cursor }: Pick<Follow, 'accountId' | 'cursor'> & { jobId: string },
): Promise<boolean> {
  const look = await readAs(ctx.client, accountId, (tx) => lookAtJob(tx, { accountId, jobId, cursor }));
  return look !== null && !(isFinal(look.job.status) && look.ended === null && cursor.sequence > 0n);
}

/** Ends after the job's last event. The job is the caller's: the route has looked. */
export async function* followJob(
  ctx: Context,
  hub: Hub,
  follow: Follow & { jobId: string },
): AsyncGenerator<Frame> {
  const { accountId, jobId, signal } = follow;
  const teller = new JobTeller(jobId, { ...follow.cursor });
  const watch = hub.watch({ jobId });
  try {
    while (!signal.aborted) {
      const look = await readAs(ctx.client, accountId, (tx) =>
        lookAtJob(tx, { accountId, jobId, cursor: teller.cursor }),
      );
      if (!look) return;
      const frames = teller.tell(look);
      yield* frames;
      if (isFinal(look.job.status)) return;
      await rest(watch, { quiet: frames.length === 0, signal });
    }
  } finally {
    watch.close();
  }
}

async function lookAtJob(
  tx: Db,
  { accountId, jobId, cursor }: { accountId: string; jobId: string; cursor: Cursor },
): Promise<JobLook | null> {
  const job = (await findJobs(tx, [{ accountId, jobId }])).get(jobId);
  if (!job) return null;
  const rows = await eventsAfter(tx, { accountId, jobId, after: cursor.sequence, limit: EVENTS_A_LOOK });
  const frames = rows.map(({ sequence, type, body }): Frame => ({
    id: String(sequence),
    event: type,
    data: body,
  }));
  const ended = frames.find(({ event }) => event !== 'job.queued') ?? null;
  const from = cursor.attempt === job.epoch ? cursor.offset : 0;
  const heardAll = isFinal(job.status) && ended === null;
  const steps =
    job.kind === 'chat' && job.epoch > 0 && !heardAll
      ? await deltasFrom(tx, { accountId, jobId, attempt: job.epoch, from })
      : [];
  const deltas = steps
    .flatMap((step) => rawItems(step.deltasJson).map((json, i) => ({ offset: step.first + i, json })))
    .filter(({ offset }) => offset >= from);
  const position =
    job.status === 'queued' && job.slot === null ? await positionInLine(tx, { accountId, jobId }) : null;
  return { job, events: frames.filter((frame) => frame !== ended), ended, deltas, position };
}

/** Turns looks at a job into what has not been told yet. */
class JobTeller {
  readonly cursor: Cursor;
  readonly #jobId: string;
  #status: Status | null = null;
  #announced = 0;
  #position: number | null = null;
  #positionAt = 0;

  constructor(jobId: string, cursor: Cursor) {
    this.#jobId = jobId;
    this.cursor = cursor;
    this.#announced = cursor.attempt;
  }

  tell(look: JobLook): Frame[] {
    const frames: Frame[] = [];
    for (const event of look.events) this.#numbered(frames, event);
    this.#attempt(frames, look);
    for (const { offset, json } of look.deltas) this.#delta(frames, { offset, json });
    this.#notes(frames, look);
    if (look.ended) this.#numbered(frames, look.ended);
    else if (isFinal(look.job.status) && this.cursor.sequence === 0n) frames.push(this.#snapshot(look.job));
    return frames;
  }

  #numbered(frames: Frame[], event: Frame): void {
    this.cursor.sequence = BigInt(event.id ?? 0);
    frames.push(event);
  }

  #attempt(frames: Frame[], { job }: JobLook): void {
    const { epoch } = job;
    if (epoch === this.cursor.attempt) return;
    if (this.cursor.attempt > 0 && this.cursor.offset > 0) {
      frames.push(this.#note('job.reset', { attempt: epoch }));
    }
    this.cursor.attempt = epoch;
    this.cursor.offset = 0;
  }

  #delta(frames: Frame[], { offset, json }: { offset: number; json: string }): void {
    const { sequence, attempt } = this.cursor;
    this.cursor.offset = offset + 1;
    const data = `{"job_id":"${this.#jobId}","attempt":${attempt},"offset":${offset},"delta":${json}}`;
    frames.push({ id: `${sequence}.${attempt}.${offset + 1}`, event: 'job.delta', data });
  }

  /** Notes are told as they are seen, and only while they are true. */
  #notes(frames: Frame[], { job, position }: JobLook): void {
    if (job.status === 'running' && this.#announced !== job.epoch) {
      this.#announced = job.epoch;
      frames.push(this.#note('job.running', { attempt: job.epoch }));
    }
    if (job.status === 'queued' && this.#status === 'running')
      frames.push(this.#note('job.retrying', { attempt: job.epoch }));
    this.#status = job.status;
    const due = performance.now() - this.#positionAt >= POSITION_EVERY_MS;
    if (position === null || position === this.#position || !due) return;
    this.#position = position;
    this.#positionAt = performance.now();
    frames.push(this.#note('job.position', { position }));
  }

  #note(event: string, rest: Record<string, unknown>): Frame {
    return { id: null, event, data: JSON.stringify({ job_id: this.#jobId, ...rest }) };
  }

  /** The job ended so long ago that its events are gone. */
  #snapshot({ status, version }: Job): Frame {
    return this.#note('reset', { reason: 'cursor_expired', status, version });
  }
}

// ---------------------------------------------------------------- a whole account

/** Every numbered event of an account, for ever. A cursor that cannot be served gets a `reset` and goes on from now. */
export async function* followAccount(
  ctx: Context,
  hub: Hub,
  { accountId, cursor, signal }: Follow,
): AsyncGenerator<Frame> {
  const watch = hub.watch({ accountId });
  let after = cursor.sequence;
  try {
    const range = await readAs(ctx.client, accountId, (tx) => eventRange(tx, accountId));
    const expired = after > 0n && after + 1n < range.oldest;
    const ahead = after > range.newest;
    if (expired || ahead) {
      after = range.newest;
      const data = JSON.stringify({
        reason: expired ? 'cursor_expired' : 'cursor_ahead',
        cursor: Number(after),
      });
      yield { id: String(after), event: 'reset', data };
    }
    while (!signal.aborted) {
      const events = await readAs(ctx.client, accountId, (tx) =>
        eventsAfter(tx, { accountId, jobId: null, after, limit: EVENTS_A_LOOK }),
      );
      for (const { sequence, type, body } of events) {
        after = sequence;
        yield { id: String(sequence), event: type, data: body };
      }
      if (events.length < EVENTS_A_LOOK) await rest(watch, { quiet: events.length === 0, signal });
    }
  } finally {
    watch.close();
  }
}

/** Until the next wake-up; and anyway before long, since a wake-up may be lost. */
function rest(watch: Watch, { quiet, signal }: { quiet: boolean; signal: AbortSignal }): Promise<void> {
  return watch.next(quiet ? LOOK_RARELY_MS : LOOK_ANYWAY_MS, signal);
}
