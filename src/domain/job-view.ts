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
  /** Where its end is told, besides the account's webhook endpoints. */
  webhook: string | null;
}

export interface QueuePlace {
  position: number;
  waiting_for: 'slot' | 'worker' | 'retry' | 'provider';
}

/** The job object as JSON text, put together by hand since it is most of what a busy API says. `place` only while it waits; `etaMs` null where nothing can be said. */
export function renderJob(
  job: Job,
  { place, etaMs }: { place: QueuePlace | null; etaMs: number | null },
): string {
  const self = `/v1/jobs/${job.id}`;
  const links = { self, events: `${self}/events`, cancel: `${self}/cancel`, explain: `${self}/explain` };
  return (
    `{"id":"${job.id}","object":"job","livemode":${job.livemode},"kind":"${job.kind}","model":${quote(job.model)}` +
    `,"status":"${job.status}","version":${job.version},"attempt":${job.epoch},"priority":${quote(PRIORITIES[job.priority])}` +
    `,"key_id":"${job.keyId}","metadata":${job.metadataJson},"input":${job.inputJson},"bounds":${job.boundsJson}` +
    `,"output":${job.outputJson},"error":${job.errorJson},"usage":${job.usageJson}` +
    `,"hold":${quote(money(job.hold))},"cost":${job.cost === null ? null : quote(money(job.cost))}` +
    `,"price_version":${quote(job.priceId)},"queue":${job.status === 'queued' ? quote(place) : null}` +
    `,"eta_ms":${isFinal(job.status) ? null : etaMs},"deadline":${time(job.deadline)}` +
    `,"cancel_requested_at":${time(job.cancelRequestedAt)},"canceled_by":${quote(job.canceledBy)}` +
    `,"created_at":${time(job.createdAt)},"started_at":${time(job.startedAt)},"ended_at":${time(job.endedAt)}` +
    `,"data_deleted_at":${time(job.dataDeletedAt)},"webhook":${quote(job.webhook)},"client_request_id":${quote(job.clientRequestId)}` +
    `,"links":${quote(links)}}`
  );
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
  return (
    `{"id":"${job.id}","object":"job","kind":"${job.kind}","model":${quote(job.model)},"status":"${job.status}"` +
    `,"version":${job.version},"metadata":${job.metadataJson}` +
    `,"output":${omitted ? 'null,"output_omitted":true' : job.outputJson}` +
    `,"error":${job.errorJson},"cost":${job.cost === null ? null : quote(money(job.cost))}` +
    `,"created_at":${time(job.createdAt)},"ended_at":${time(job.endedAt)}` +
    `,"links":${quote({ self: `${publicUrl}/v1/jobs/${job.id}` })}}`
  );
}

function time(at: Date | null): string {
  return at === null ? 'null' : `"${at.toISOString()}"`;
}

function quote(value: unknown): string {
  return JSON.stringify(value);
}
