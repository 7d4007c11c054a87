// What workers hold: messages become running jobs and attempts here.
import type { Db } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { Bell, Kind } from '../domain/job.ts';

/** A job in a worker's hands. */
export interface Claimed {
  accountId: string;
  jobId: string;
  epoch: number;
  /** The name it was claimed under, which may have lapsed since. */
  workerId: string;
  slot: number;
  kind: Kind;
  model: string;
  routeId: string;
  livemode: boolean;
  boundsJson: string;
  inputJson: string | null;
  inputKey: string | null;
  /** Until its deadline, by the database's clock. */
  remainingMs: number;
  cancelRequested: boolean;
  /** Attempts whose end is not known, the latest first: the vendor is asked after each before it is called again. */
  earlier: { attempt: number; remoteId: string | null; routeId: string }[];
}

/** What a message names. */
export type Rung = Pick<Bell, 'accountId' | 'jobId' | 'epoch'>;

const rings = rowset<Rung>(
  {
    account_id: ['text', (b) => b.accountId],
    id: ['text', (b) => b.jobId],
    epoch: ['integer', (b) => b.epoch],
  },
  2,
);

/**
 * Claims jobs for a worker and writes down the attempts that will follow, in one statement that never touches accounts.
 * A bell is void, and missing from the answer, if its job is not waiting with a slot at that epoch, if its deadline has
 * passed, or if the worker's own lease has lapsed.
 */
export async function claimJobs(db: Db, workerId: string, rung: readonly Rung[]): Promise<Claimed[]> {
  const { rows } = await db.query<Claimed>({
    name: 'claim-jobs',
    text: `with clock as materialized (select millrace_now() as now),
      claimed as (
        update jobs j set status = 'running', version = j.version + 1, epoch = j.epoch + 1, worker_id = $1,
          rings = 0, started_at = coalesce(j.started_at, (select now from clock))
        from ${rings.sql} where j.account_id = r.account_id and j.id = r.id and j.epoch = r.epoch
          and j.status = 'queued' and j.slot is not null and j.deadline > (select now from clock)
          and exists (select from workers w where w.id = $1 and w.lease_until > (select now from clock))
        returning j.*),
      written as (
        insert into attempts (account_id, job_id, attempt, worker_id, route_id, slot, started_at)
        select account_id, id, epoch, $1, route_id, slot, (select now from clock) from claimed)
      select c.account_id as "accountId", c.id as "jobId", c.epoch, c.worker_id as "workerId", c.slot, c.kind, c.model, c.route_id as "routeId",
        c.livemode, c.bounds as "boundsJson", c.input as "inputJson", c.input_key as "inputKey",
        (extract(epoch from c.deadline - (select now from clock)) * 1000)::float8 as "remainingMs",
        c.cancel_requested_at is not null as "cancelRequested",
        case when c.epoch > 1 then (
          select coalesce(json_agg(json_build_object('attempt', a.attempt, 'remoteId', a.remote_id, 'routeId', a.route_id) order by a.attempt desc), '[]')
          from attempts a where a.account_id = c.account_id and a.job_id = c.id and a.attempt < c.epoch
            and (a.outcome in ('interrupted', 'ambiguous')
              or a.outcome = 'failed' and a.error_code = 'storage_unavailable' and a.remote_id is not null)) else '[]' end as earlier
      from claimed c`,
    values: [workerId, ...rings.values(rung)],
  });
  return rows;
}

/** A job that runs under a worker's name. */
export interface Held {
  accountId: string;
  jobId: string;
  epoch: number;
  /** How long it has been running, by the database's clock. */
  runningMs: number;
  stopAsked: boolean;
}

/** What the database thinks a worker is doing. Found in the index of slots, which holds just what is open. */
export async function heldBy(db: Db, workerId: string): Promise<Held[]> {
  const { rows } = await db.query<Held>({
    name: 'held-by',
    text: `select j.account_id as "accountId", j.id as "jobId", j.epoch, j.cancel_requested_at is not null as "stopAsked",
        (extract(epoch from (select millrace_now()) - a.started_at) * 1000)::float8 as "runningMs"
      from jobs j join attempts a on a.account_id = j.account_id and a.job_id = j.id and a.attempt = j.epoch
      where j.slot is not null and j.status = 'running' and j.worker_id = $1`,
    values: [workerId],
  });
  return rows;
}
