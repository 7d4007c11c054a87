// What this process has done since it started, counted where it happens: adding one to a number in a place that was looked
// up beforehand, since it is done for every request and every job. metrics.ts tells it to Prometheus.
import type { FinalStatus, Kind } from './domain/job.ts';
import { KINDS, STATUSES } from './domain/job.ts';
import type { DeliveryStatus } from './domain/webhook.ts';

/** Upper bounds in seconds of the durations' buckets. */
export const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

/** The requests of one method and route. */
export class RouteCount {
  readonly method: string;
  readonly route: string;
  readonly byStatus = new Map<number, number>();
  /** One for each of BUCKETS, and one for what is longer; not yet added up. */
  readonly buckets: number[] = Array.from({ length: BUCKETS.length + 1 }, () => 0);
  seconds = 0;

  constructor(method: string, route: string) {
    this.method = method;
    this.route = route;
  }

  note(status: number, seconds: number): void {
    this.byStatus.set(status, (this.byStatus.get(status) ?? 0) + 1);
    let at = 0;
    while (at < BUCKETS.length && seconds > (BUCKETS[at] as number)) at++;
    this.buckets[at] = (this.buckets[at] as number) + 1;
    this.seconds += seconds;
  }
}

interface Attempted {
  routeId: string;
  outcome: string;
  errorCode: string | null;
}

export class Counts {
  readonly routes: RouteCount[] = [];
  readonly refusals = new Map<string, number>();
  /** Of this process's workers. */
  leasesLost = 0;
  /** WebSockets that were closed, by code. */
  readonly socketsClosed = new Map<number, number>();
  frames = 0;
  readonly #ended = new Map<Kind, Map<FinalStatus, number>>();
  readonly #called = new Map<DeliveryStatus, number>();
  readonly #attempts = new Map<string, Map<string, Attempted & { count: number }>>();

  constructor() {
    // From the first look on: a series that begins at 1 hides its first event from Prometheus.
    for (const status of ['delivered', 'pending', 'failed', 'exhausted'] as const)
      this.#called.set(status, 0);
    for (const kind of KINDS) {
      const final = STATUSES.filter((status) => status !== 'queued' && status !== 'running');
      this.#ended.set(kind, new Map(final.map((status) => [status, 0])));
    }
  }

  route(method: string, route: string): RouteCount {
    const known = this.routes.find((count) => count.method === method && count.route === route);
    if (known) return known;
    const count = new RouteCount(method, route);
    this.routes.push(count);
    return count;
  }

  refused(code: string): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  socketClosed(code: number): void {
    this.socketsClosed.set(code, (this.socketsClosed.get(code) ?? 0) + 1);
  }

  framesSent(count: number): void {
    this.frames += count;
  }

  /** Of jobs whose end was committed. */
  ended(jobs: readonly { kind: Kind; status: FinalStatus }[]): void {
    for (const { kind, status } of jobs) {
      const byStatus = this.#ended.get(kind);
      byStatus?.set(status, (byStatus.get(status) ?? 0) + 1);
    }
  }

  attempted(attempts: readonly Attempted[]): void {
    for (const { routeId, outcome, errorCode } of attempts) {
      let ofRoute = this.#attempts.get(routeId);
      if (!ofRoute) this.#attempts.set(routeId, (ofRoute = new Map()));
      const name = errorCode === null ? outcome : `${outcome} ${errorCode}`;
      const known = ofRoute.get(name);
      if (known) known.count += 1;
      else ofRoute.set(name, { routeId, outcome, errorCode, count: 1 });
    }
  }

  /** What calls of webhooks' receivers meant for their deliveries: `pending` is to be repeated. */
  called(list: readonly DeliveryStatus[]): void {
    for (const status of list) this.#called.set(status, (this.#called.get(status) ?? 0) + 1);
  }

  calls(): { status: DeliveryStatus; count: number }[] {
    return [...this.#called].map(([status, count]) => ({ status, count }));
  }

  endings(): { kind: Kind; status: FinalStatus; count: number }[] {
    return [...this.#ended].flatMap(([kind, byStatus]) =>
      [...byStatus].map(([status, count]) => ({ kind, status, count })),
    );
  }

  attempts(): (Attempted & { count: number })[] {
    return [...this.#attempts.values()].flatMap((ofRoute) => [...ofRoute.values()]);
  }
}
