// A job as clients see it (contract 5). Client's and vendor's JSON is kept as text and spliced in, byte for byte, so that
// no number is rounded and no key reordered on the way through.
import { isFinal, type Kind, PRIORITIES, type Status } from './job.ts';
import { money } from './money.ts';
import { renderEvent } from './event.ts';

/** A job as its row holds it. Fields ending in `Json` are JSON texts. */
export interface Job {
  id: string;
  accountId: string;
  keyId: string;
  livemode: boolean;
  kind: Kind;
  model: string;
  status: Status;
  version: number;
  /** The number of its current or last attempt. */
  epoch: number;
  priority: number;
  slot: number | null;
  dueAt: Date | null;
  metadataJson: string;
  boundsJson: string;
  /** Null: kept in storage (inputKey) or deleted. */
  inputJson: string | null;
  inputKey: string | null;
  outputJson: string | null;
  errorJson: string | null;
  usageJson: string | null;
  hold: bigint;
  cost: bigint | null;
  priceId: string;
  deadline: Date;
  cancelRequestedAt: Date | null;
  canceledBy: string | null;
  createdAt: Date;
  startedAt: Date | null;
  endedAt: Date | null;
  dataDeletedAt: Date | null;
  clientRequestId: string | null;
}

export interface QueuePlace {
  position: number;
  waiting_for: 'slot' | 'worker' | 'retry' | 'provider';
}

/** The job object as JSON text. `place` only while it waits; `etaMs` null where nothing can be said. */
export function renderJob(
  job: Job,
  { place, etaMs }: { place: QueuePlace | null; etaMs: number | null },
): string {
  const self = `/v1/jobs/${job.id}`;
  return object([
    ['id', quote(job.id)],
    ['object', '"job"'],
    ['livemode', String(job.livemode)],
    ['kind', quote(job.kind)],
    ['model', quote(job.model)],
    ['status', quote(job.status)],
    ['version', String(job.version)],
    ['attempt', String(job.epoch)],
    ['priority', quote(PRIORITIES[job.priority])],
    ['key_id', quote(job.keyId)],
    ['metadata', job.metadataJson],
    ['input', job.inputJson ?? 'null'],
    ['bounds', job.boundsJson],
    ['output', job.outputJson ?? 'null'],
    ['error', job.errorJson ?? 'null'],
    ['usage', job.usageJson ?? 'null'],
    ['hold', quote(money(job.hold))],
    ['cost', quote(job.cost === null ? null : money(job.cost))],
    ['price_version', quote(job.priceId)],
    ['queue', quote(job.status === 'queued' ? place : null)],
    ['eta_ms', quote(isFinal(job.status) ? null : etaMs)],
    ['deadline', quote(job.deadline)],
    ['cancel_requested_at', quote(job.cancelRequestedAt)],
    ['canceled_by', quote(job.canceledBy)],
    ['created_at', quote(job.createdAt)],
    ['started_at', quote(job.startedAt)],
    ['ended_at', quote(job.endedAt)],
    ['data_deleted_at', quote(job.dataDeletedAt)],
    ['webhook', 'null'],
    ['client_request_id', quote(job.clientRequestId)],
    [
      'links',
      quote({ self, events: `${self}/events`, cancel: `${self}/cancel`, explain: `${self}/explain` }),
    ],
  ]);
}

const EVENT_OUTPUT_MAX_BYTES = 20 * 1024;

/**
 * A numbered event's body (contract 12), built once and stored: what SSE, WebSocket and webhooks all carry.
 * It never holds the input, nor a long output.
 */
export function renderJobEvent(
  event: { id: string; type: string; sequence: bigint; at: Date },
  job: Job,
  publicUrl: string,
): string {
  const head = { ...event, accountId: job.accountId, livemode: job.livemode };
  return renderEvent(head, renderEventData(job, publicUrl));
}

/** What events show of a job. */
export type EventJob = Pick<
  Job,
  | 'id'
  | 'kind'
  | 'model'
  | 'status'
  | 'version'
  | 'metadataJson'
  | 'outputJson'
  | 'errorJson'
  | 'cost'
  | 'createdAt'
  | 'endedAt'
>;

export function renderEventData(job: EventJob, publicUrl: string): string {
  const omitted = job.outputJson !== null && Buffer.byteLength(job.outputJson) > EVENT_OUTPUT_MAX_BYTES;
  return object([
    ['id', quote(job.id)],
    ['object', '"job"'],
    ['kind', quote(job.kind)],
    ['model', quote(job.model)],
    ['status', quote(job.status)],
    ['version', String(job.version)],
    ['metadata', job.metadataJson],
    ['output', omitted ? 'null' : (job.outputJson ?? 'null')],
    ...(omitted ? [['output_omitted', 'true'] as [string, string]] : []),
    ['error', job.errorJson ?? 'null'],
    ['cost', quote(job.cost === null ? null : money(job.cost))],
    ['created_at', quote(job.createdAt)],
    ['ended_at', quote(job.endedAt)],
    ['links', quote({ self: `${publicUrl}/v1/jobs/${job.id}` })],
  ]);
}

function object(members: [string, string][]): string {
  return `{${members.map(([name, json]) => `"${name}":${json}`).join(',')}}`;
}

function quote(value: unknown): string {
  return JSON.stringify(value);
}
