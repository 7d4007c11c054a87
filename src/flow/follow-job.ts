// One job, told in order and without gaps: its numbered events, a chat's deltas, and between them notes on how it stands.
// A cursor says how far one has heard; whoever comes back with it misses and repeats nothing.
import type { Context } from '../context.ts';
import { persistently, readAs } from '../db/transaction.ts';
import { type Cursor, renderCursor, START } from '../domain/cursor.ts';
import { AppError } from '../domain/errors.ts';
import { isId } from '../domain/ids.ts';
import { isFinal } from '../domain/job.ts';
import { rawItems } from '../domain/json-members.ts';
import { type Hub, LOOK_ANYWAY_MS } from '../live/hub.ts';
import { findJobs } from '../store/jobs.ts';
import { type Bounds, boundsOf, type JobLook, lookAtJob } from '../store/looks.ts';
import { type Batch, type Frame, LOOK_RARELY_MS, PATIENCE_MS } from './frame.ts';
import type { Shower } from './show.ts';

export interface JobStream {
  accountId: string;
  jobId: string;
  model: string;
  cursor: Cursor;
  /** What is to be said before anything else. */
  greeting: Frame[];
  /** That is all there is to say. */
  over: boolean;
}

interface Asked {
  caller: { accountId: string; slots: number };
  jobId: string;
  /** Null: from now on. */
  cursor: Cursor | null;
}

/**
 * Null: this cursor has heard all there will ever be. A cursor that cannot be served is greeted by a `reset` with the job
 * as it is, and goes on from there.
 * @throws AppError not_found
 */
export async function openJobStream(
  { ctx, shower }: { ctx: Context; shower: Shower },
  { caller, jobId, cursor }: Asked,
): Promise<JobStream | null> {
  const { accountId } = caller;
  if (!isId('job', jobId)) throw new AppError('not_found');
  return readAs(ctx.client, accountId, async (tx) => {
    const job = (await findJobs(tx, [{ accountId, jobId }])).get(jobId);
    if (!job) throw new AppError('not_found');
    const { model } = job;
    const asked = cursor ?? { ...START, attempt: job.epoch };
    const bounds = await boundsOf(tx, { accountId, jobId, cursor: asked });
    if (!bounds) throw new AppError('not_found');
    const over = isFinal(job.status);
    const from = cursor ?? { sequence: bounds.newest, attempt: job.epoch, offset: bounds.said };
    const reason = cursor && whyNot(cursor, { ...bounds, attempt: job.epoch, over });
    if (reason === null)
      return over && (!cursor || !bounds.unheard)
        ? null
        : { accountId, jobId, model, cursor: from, greeting: [], over: false };
    const { json } = await shower.render(tx, caller, job);
    const { newest } = bounds;
    const data = `{"job_id":"${jobId}","reason":"${reason}","cursor":${newest},"job":${json}}`;
    return {
      accountId,
      jobId,
      model,
      cursor: { sequence: newest, attempt: 0, offset: 0 },
      greeting: [{ id: String(newest), event: 'reset', data }],
      over,
    };
  });
}

function whyNot(
  { sequence, attempt, offset }: Cursor,
  job: Bounds & { attempt: number; over: boolean },
): 'cursor_expired' | 'cursor_ahead' | null {
  if (sequence > job.newest || attempt > job.attempt) return 'cursor_ahead';
  const next = sequence < job.queued ? job.queued : sequence + 1n;
  if (next < job.oldest) return 'cursor_expired';
  if (attempt < job.attempt || offset <= job.said) return null;
  // More was heard than is there: deltas go before events do, but not before the job's end.
  return job.over ? 'cursor_expired' : 'cursor_ahead';
}

export interface Following {
  signal: AbortSignal;
  /** Leaves out what a chat says. */
  withoutDeltas?: boolean;
  /** Called whenever all has been told that there was at the last look. */
  caughtUp?(): void;
  /** Who follows many looks at each less often by itself: at most once in so many milliseconds. */
  restMs?(): number;
}

/** Ends after the job's last event. */
export async function* followJob(
  { ctx, hub }: { ctx: Context; hub: Hub },
  stream: JobStream,
  { signal, withoutDeltas = false, caughtUp, restMs = () => 0 }: Following,
): AsyncGenerator<Batch> {
  const { accountId, jobId, greeting } = stream;
  const teller = new JobTeller(jobId, { ...stream.cursor }, withoutDeltas);
  const watch = hub.watch({ jobId });
  try {
    if (greeting.length > 0) yield greeting;
    while (!signal.aborted && !stream.over) {
      const look = await persistently(
        () => lookAtJob(ctx.client, { accountId, jobId, cursor: teller.cursor }),
        { forMs: PATIENCE_MS, signal },
      );
      if (!look) return;
      const frames = teller.tell(look);
      if (frames.length > 0) yield frames;
      if (look.more) continue;
      caughtUp?.();
      if (isFinal(look.status)) return;
      // A place in the line changes without a word about the job itself.
      const often = frames.length > 0 || look.position !== null;
      await watch.next(Math.max(often ? LOOK_ANYWAY_MS : LOOK_RARELY_MS, restMs()), signal);
    }
  } finally {
    watch.close();
  }
}

/** More deltas than any attempt has: none are read. */
const ALL_HEARD = 2 ** 31 - 1;

/** Turns looks at a job into what has not been told yet. */
class JobTeller {
  readonly cursor: Cursor;
  readonly #jobId: string;
  #retried = 0;
  #position: number | null = null;
  #positionAt = -Infinity;

  /** Deltas heard of an attempt when it is new. */
  readonly #heard: number;

  constructor(jobId: string, cursor: Cursor, withoutDeltas: boolean) {
    this.#jobId = jobId;
    this.cursor = cursor;
    this.#heard = withoutDeltas ? ALL_HEARD : 0;
    cursor.offset = Math.max(cursor.offset, this.#heard);
  }

  tell(look: JobLook): Frame[] {
    const frames: Frame[] = [];
    for (const event of look.events) if (event.type === 'job.queued') this.#numbered(frames, event);
    this.#attempt(frames, look);
    for (const run of look.deltas) this.#deltas(frames, run);
    this.#waiting(frames, look);
    // The end comes last, whatever was said before it.
    if (!look.more)
      for (const event of look.events) if (event.type !== 'job.queued') this.#numbered(frames, event);
    return frames;
  }

  #numbered(frames: Frame[], { sequence, type, body }: JobLook['events'][number]): void {
    this.cursor.sequence = sequence;
    frames.push({ id: String(sequence), event: type, data: body });
  }

  /** Each has its cursor, so that whoever is cut off here is not told of the same attempt again. */
  #attempt(frames: Frame[], { epoch, status }: JobLook): void {
    if (epoch === this.cursor.attempt) return;
    const heard = this.cursor.offset;
    this.cursor.attempt = epoch;
    this.cursor.offset = this.#heard;
    const id = renderCursor(this.cursor);
    const note = { attempt: epoch };
    if (heard > 0 && this.#heard === 0) frames.push({ ...this.#note('job.reset', note), id });
    if (status === 'running') frames.push({ ...this.#note('job.running', note), id });
  }

  #deltas(frames: Frame[], { first, deltasJson }: JobLook['deltas'][number]): void {
    const { cursor } = this;
    if (first > cursor.offset) throw new Error(`deltas of ${this.#jobId} before ${first} are missing`);
    for (const json of rawItems(deltasJson).slice(cursor.offset - first)) {
      const data = `{"job_id":"${this.#jobId}","attempt":${cursor.attempt},"offset":${cursor.offset},"delta":${json}}`;
      cursor.offset += 1;
      frames.push({ id: renderCursor(cursor), event: 'job.delta', data });
    }
  }

  /** Notes on a job that waits: for another attempt, and how many of the account's own start before it. */
  #waiting(frames: Frame[], { status, epoch, position }: JobLook): void {
    if (status === 'queued' && this.#retried !== epoch) {
      this.#retried = epoch;
      frames.push(this.#note('job.retrying', { attempt: epoch }));
    }
    const due = performance.now() - this.#positionAt >= LOOK_ANYWAY_MS;
    if (position === null || position === this.#position || !due) return;
    this.#position = position;
    this.#positionAt = performance.now();
    frames.push(this.#note('job.position', { position }));
  }

  #note(event: string, rest: Record<string, unknown>): Frame {
    return { id: null, event, data: JSON.stringify({ job_id: this.#jobId, ...rest }) };
  }
}
