// A subscription to some jobs by name, each of which is followed until it has ended.
import { readAs } from '../../db/transaction.ts';
import { type Cursor, START } from '../../domain/cursor.ts';
import { AppError } from '../../domain/errors.ts';
import { followJob, type JobStream, openJobStream } from '../../flow/follow-job.ts';
import type { Batch, Frame } from '../../flow/frame.ts';
import { eventRange } from '../../store/looks.ts';
import type { Api } from '../api.ts';
import type { Subscription } from './connection.ts';
import { textFrames } from './frames.ts';
import { jobFrames } from './job-frames.ts';
import { caughtUpText, fail, type Order, type Told } from './told.ts';
import { Turns } from './turns.ts';

/** Jobs that wait are looked at once a second each, to tell their place; all of a key's together no more often than this. */
const LOOKS_A_SECOND = 200;
const REST_MAX_MS = 60_000;

export class SomeJobs implements Subscription {
  #following = 0;
  readonly #api: Api;
  readonly #told: Told;
  readonly #deltas: boolean;
  readonly #over = new AbortController();
  #streams: (JobStream | null)[] = [];
  #turns: Turns | null = null;

  constructor(api: Api, told: Told, deltas: boolean) {
    this.#api = api;
    this.#told = told;
    this.#deltas = deltas;
  }

  /** How many jobs have not ended for it. */
  get following(): number {
    return this.#following;
  }

  set following(count: number) {
    this.#told.connection.authority.followed += count - this.#following;
    this.#following = count;
  }

  /** Answers the newest number of the account's events: all up to there is told before it is said to have caught up. */
  async open(ids: readonly string[], { after, deltas_after = {} }: Order): Promise<bigint> {
    this.following = ids.length;
    const { ctx } = this.#api;
    const { accountId, terms } = this.#told.connection.caller;
    const { newest } = await readAs(ctx.client, accountId, (tx) => eventRange(tx, accountId));
    for (const [i, jobId] of ids.entries()) {
      const heard = deltas_after[jobId];
      const cursor: Cursor | null =
        after === null && !heard
          ? null
          : {
              sequence: after ?? newest,
              attempt: heard?.attempt ?? START.attempt,
              offset: heard ? heard.offset + 1 : START.offset,
            };
      const caller = { accountId, slots: terms.slots };
      const stream = await openJobStream(this.#api, { caller, jobId, cursor }).catch((error: unknown) => {
        throw error instanceof AppError && error.code === 'not_found'
          ? new AppError('not_found', {
              message: `There is no such job, or it is not yours: jobs.${i}.`,
              details: { field: `jobs.${i}` },
            })
          : error;
      });
      this.#streams.push(stream);
    }
    return newest;
  }

  begin(newest: bigint): void {
    const { connection, name } = this.#told;
    const streams = this.#streams;
    this.#streams = [];
    const starts = streams.flatMap((stream) =>
      stream ? [[stream.jobId, stream.cursor.sequence] as const] : [],
    );
    this.#turns = new Turns(this.#api.ctx, connection.caller.accountId, new Map(starts));
    let behind = streams.length;
    const caughtUp = (): void => {
      behind -= 1;
      if (behind === 0 && !this.#over.signal.aborted) connection.answer(caughtUpText(name, newest));
    };
    for (const stream of streams) void this.#follow(stream, caughtUp);
  }

  async #follow(stream: JobStream | null, first: () => void): Promise<void> {
    const { connection, name } = this.#told;
    const { signal } = this.#over;
    const { authority } = connection;
    const restMs = (): number => Math.min((authority.followed * 1_000) / LOOKS_A_SECOND, REST_MAX_MS);
    let isBehind = true;
    const caughtUp = (): void => {
      if (isBehind) first();
      isBehind = false;
    };
    try {
      const frames =
        stream && followJob(this.#api, stream, { signal, withoutDeltas: !this.#deltas, caughtUp, restMs });
      for await (const batch of frames ?? []) {
        if (signal.aborted) return;
        await connection.outbox.drained();
        await this.#say(batch, stream as JobStream);
        await connection.outbox.drained();
        if (signal.aborted) return;
      }
    } catch (error) {
      if (!signal.aborted) fail(this.#api.ctx, connection, error);
    }
    if (signal.aborted) return;
    caughtUp();
    this.following -= 1;
    // Nothing more will come: it makes room for another.
    if (this.following === 0) connection.subscriptions.delete(name);
  }

  /** Each event in its turn. Notes and deltas go with what follows them, as one write. */
  async #say(batch: Batch, stream: JobStream): Promise<void> {
    const { connection, name, wanted } = this.#told;
    const { caller } = connection;
    let texts: string[] = [];
    const send = (): void => {
      if (texts.length > 0 && !this.#over.signal.aborted) connection.read(textFrames(texts), texts.length);
      texts = [];
    };
    for (const frame of batch) {
      const number = numberOf(frame);
      if (number !== null) {
        await this.#turns?.before(frame.event === 'reset' ? number + 1n : number);
        if (this.#over.signal.aborted) return;
      }
      texts.push(...(await jobFrames(this.#api, { batch: [frame], stream, name, wanted, caller })));
      if (number === null) continue;
      send();
      this.#turns?.told(number);
    }
    send();
  }

  stop(): void {
    this.following = 0;
    this.#over.abort();
    this.#turns?.stop();
  }
}

/** Of what has a number of its own; null: it is of the moment, or an attempt's. */
const numberOf = ({ id }: Frame): bigint | null => (id === null || id.includes('.') ? null : BigInt(id));
