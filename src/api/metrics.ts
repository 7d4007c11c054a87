// What Prometheus may ask. Counts of jobs and money come from PostgreSQL when asked, so every process says the same.
import { Counter, Gauge, type Registry } from '@prometheus-io/client';
import type { Context } from '../context.ts';
import { KINDS } from '../domain/job.ts';
import { QUEUES } from '../domain/queues.ts';
import { openProcessMetrics } from '../metrics.ts';
import type { Hub } from '../live/hub.ts';
import { lastVerdict } from '../store/audit-verdict.ts';
import { readGauges } from '../store/gauges.ts';

/** Well below the time that Prometheus gives a scrape. */
const READ_MS = 3_000;

interface Watched {
  ctx: Context;
  hub: Hub;
  sockets: { gauges(): { open: number; subscriptions: number } };
}

export function openMetrics({ ctx, hub, sockets }: Watched): () => Promise<string> {
  const { registry, text } = openProcessMetrics(ctx);
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const jobs = gauge('millrace_jobs_open', 'Jobs that have not ended, by kind and what they wait for', [
    'kind',
    'state',
  ]);
  const oldest = gauge('millrace_oldest_waiting_seconds', 'Age of the oldest job that waits with a slot', [
    'kind',
  ]);
  const workers = gauge('millrace_workers', 'Workers with a lease', ['queue']);
  const credits = gauge('millrace_credits', 'Credits of all live accounts', ['bucket']);
  const operator = gauge(
    'millrace_operator_credits_last_hour',
    "What nobody paid for: the vendors' bill beyond holds, and for failed calls",
    ['what', 'provider'],
  );
  const queue = gauge('millrace_queue_messages', 'Messages that wait in the queue or are being handled', [
    'kind',
  ]);
  const breaches = gauge('millrace_audit_breaches', 'What the last audit found wrong; 0: nothing');
  const audited = gauge(
    'millrace_audit_age_seconds',
    'Since the last audit that was complete or found a breach',
  );
  const late = gauge(
    'millrace_webhook_late_seconds',
    'For how long the webhook that is due longest has been so',
  );
  const watches = gauge('millrace_watches', 'Streams and waits that are open in this process');
  const open = gauge('millrace_websockets', 'WebSockets that are open in this process');
  const subscriptions = gauge('millrace_websocket_subscriptions', 'What they follow');
  countSockets(registry, ctx.counts);
  const answers = gauge('millrace_answers', 'Whether a server that the platform stands on answers: 1 or 0', [
    'server',
  ]);
  return async () => {
    const [now, depths, stored] = await Promise.all([
      orNull('database', async () => ({
        ...(await readGauges(ctx.flow)),
        verdict: await lastVerdict(ctx.flow),
      })),
      orNull('queue', () => Promise.all(KINDS.map((kind) => ctx.queue.depth(kind)))),
      orNull('storage', async () => (await ctx.storage.ping(), true)),
    ]);
    for (const metric of [jobs, oldest, workers, credits, operator, queue]) metric.reset();
    for (const { kind, state, count, oldest_s } of now?.jobs ?? []) {
      jobs.set({ kind, state }, count);
      if (state === 'queued') oldest.set({ kind }, oldest_s ?? 0);
    }
    for (const [i, kind] of KINDS.entries()) if (depths) queue.set({ kind }, depths[i] ?? 0);
    // Also those that nobody serves: that is what one asks for.
    if (now) for (const name of QUEUES) workers.set({ queue: name }, 0);
    if (now) late.set(now.webhookLateS);
    for (const { queue: name, count } of now?.workers ?? []) workers.set({ queue: name }, count);
    for (const [bucket, amount] of Object.entries(now?.credits ?? {}))
      credits.set({ bucket }, Number(amount));
    for (const { provider, waste, overrun } of now?.operator ?? []) {
      operator.set({ what: 'waste', provider }, Number(waste));
      operator.set({ what: 'overrun', provider }, Number(overrun));
    }
    if (now) {
      breaches.set(now.verdict?.breaches ?? 0);
      audited.set(now.verdict?.ageS ?? NaN);
    }
    answers.set({ server: 'database' }, now ? 1 : 0);
    answers.set({ server: 'queue' }, depths ? 1 : 0);
    answers.set({ server: 'storage' }, stored ? 1 : 0);
    watches.set(hub.watching());
    const ofSockets = sockets.gauges();
    open.set(ofSockets.open);
    subscriptions.set(ofSockets.subscriptions);
    return text();
  };

  /** Null if it cannot be read, or not soon: what this process knows itself is told all the same, most of all then. */
  async function orNull<T>(server: string, read: () => Promise<T>): Promise<T | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('it takes too long')), READ_MS);
    });
    try {
      return await Promise.race([read(), late]);
    } catch {
      ctx.alarms.raise('warn', 'metrics are told without some gauges, which could not be read', {
        about: { server },
      });
      return null;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Asked when Prometheus asks. */
function countSockets(registry: Registry, counts: Context['counts']): void {
  const frames = new Counter({
    name: 'millrace_websocket_frames_total',
    help: 'Messages that were sent on WebSockets, by this process',
    registers: [],
    collect() {
      this.reset();
      this.inc(counts.frames);
    },
  });
  const closes = new Counter({
    name: 'millrace_websocket_closes_total',
    help: 'WebSockets that were closed, by this process',
    labelNames: ['code'],
    registers: [],
    collect() {
      this.reset();
      for (const [code, count] of counts.socketsClosed) this.inc({ code: String(code) }, count);
    },
  });
  for (const metric of [frames, closes]) registry.registerMetric(metric as Counter);
}
