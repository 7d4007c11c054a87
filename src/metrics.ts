// What one process tells Prometheus of itself. The API adds what only the database knows.
import { collectDefaultMetrics, Counter, Registry } from '@prometheus-io/client';
import type { Context } from './context.ts';
import { BUCKETS, type RouteCount } from './counts.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface ProcessMetrics {
  registry: Registry;
  /** All of `registry`, and the durations of requests. */
  text(): Promise<string>;
}

export function openProcessMetrics({
  counts,
  catalogue,
}: Pick<Context, 'counts' | 'catalogue'>): ProcessMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'millrace_' });
  /** Asked when Prometheus asks: nothing is looked up by its labels before. */
  const counter = (
    name: string,
    { help, labelNames }: { help: string; labelNames: string[] },
    read: () => { labels: Record<string, string>; count: number }[],
  ) =>
    new Counter({
      name,
      help: `${help}, by this process`,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, count } of read()) this.inc(labels, count);
      },
    });
  counter('millrace_jobs_ended_total', { help: 'Jobs that were ended', labelNames: ['kind', 'status'] }, () =>
    counts.endings().map(({ count, ...labels }) => ({ labels, count })),
  );
  counter(
    'millrace_attempts_total',
    { help: 'Calls of providers that ended', labelNames: ['provider', 'route', 'outcome', 'code'] },
    () =>
      counts.attempts().map(({ routeId, outcome, errorCode, count }) => {
        const provider = catalogue().routes.get(routeId)?.provider ?? 'unknown';
        return { labels: { provider, route: routeId, outcome, code: errorCode ?? '' }, count };
      }),
  );
  counter(
    'millrace_webhook_calls_total',
    {
      help: "Calls of webhooks' receivers, by what they meant: delivered, pending (to be repeated), failed, exhausted",
      labelNames: ['meant'],
    },
    () => counts.calls().map(({ status, count }) => ({ labels: { meant: status }, count })),
  );
  counter(
    'millrace_requests_total',
    { help: 'Requests that were answered', labelNames: ['method', 'route', 'status'] },
    () =>
      counts.routes.flatMap(({ method, route, byStatus }) =>
        [...byStatus].map(([status, count]) => ({
          labels: { method, route, status: String(status) },
          count,
        })),
      ),
  );
  counter(
    'millrace_refusals_total',
    { help: 'Requests, and jobs of batches, that were refused', labelNames: ['code'] },
    () => [...counts.refusals].map(([code, count]) => ({ labels: { code }, count })),
  );
  counter(
    'millrace_leases_lost_total',
    { help: 'Leases of workers that lapsed, so that their calls were ended', labelNames: [] },
    () => [{ labels: {}, count: counts.leasesLost }],
  );
  return { registry, text: async () => `${await registry.metrics()}${durations(counts.routes)}` };
}

const DURATION = 'millrace_request_duration_seconds';

/** By hand, since the library's histogram would look up its labels at each request. */
function durations(routes: readonly RouteCount[]): string {
  const lines = [
    `# HELP ${DURATION} From a request's head to the end of its answer, by this process; waits and streams included`,
    `# TYPE ${DURATION} histogram`,
  ];
  for (const { method, route, buckets, seconds } of routes) {
    const labels = `method="${method}",route="${route}"`;
    let sum = 0;
    const counts = buckets.map((count) => (sum += count));
    if (sum === 0) continue;
    for (const [i, count] of counts.entries())
      lines.push(`${DURATION}_bucket{${labels},le="${BUCKETS[i] ?? '+Inf'}"} ${count}`);
    lines.push(`${DURATION}_sum{${labels}} ${seconds}`, `${DURATION}_count{${labels}} ${sum}`);
  }
  return `\n${lines.join('\n')}\n`;
}
