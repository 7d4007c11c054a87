// One call, from its understood request to its last byte, with the fault it asked for (the table is in behaviour.ts).
import { type Answer, SimError, type Work } from './answer.ts';
import type { Fault } from '../../../domain/faults.ts';
import type { Behaviour } from './behaviour.ts';
import type { Outcome } from './calls.ts';
import type { Live, Simulator } from './simulator.ts';

const DRIP_MS = 10_000;
const USAGE_TIMES = 1_000;
const BROKEN = [
  '{"id":"sim","choices":[{"mess',
  '["unexpected"]',
  '{"error":{"message":"upstream failed","type":"server_error","code":null}}',
];

export interface Act {
  sim: Simulator;
  live: Live;
  work: Work;
  fault: Fault | null;
  latencyMs: number;
}

/** Answers `live` with `work`, or as its behaviour says. */
export function perform(
  sim: Simulator,
  live: Live,
  { work, behaviour }: { work: Work; behaviour: Behaviour },
): void {
  const fault = sim.faults.next(behaviour, live.call.jobId);
  run({ sim, live, work, fault, latencyMs: behaviour.latencyMs }).catch((error: unknown) => {
    refuse(sim, live, error);
  });
}

async function run(act: Act): Promise<void> {
  const { sim, live, work, fault, latencyMs } = act;
  switch (fault) {
    case '429':
    case '429-retry-after':
      return fail(act, new SimError(429, 'rate_limit_exceeded', 'Too many requests.'));
    case '500':
      return fail(act, new SimError(500, 'server_error', 'The simulator was asked to fail.'));
    case 'refusal':
      return fail(
        act,
        new SimError(400, 'content_policy_violation', 'The request was refused by the content policy.'),
      );
    case 'hang':
      return;
    case 'async': {
      const id = sim.remotes.begin({ key: live.key, answer: work.answer, latencyMs }, () => billed(act));
      return whole(act, { status: 202, outcome: 'accepted' }, json({ id, status: 'processing' }));
    }
    case 'drip':
      return drip(act, work.events ? eventStream(work.events(1)) : await work.answer(1));
    case 'cut':
      return work.events ? stream(act, work.events(1), true) : cut(act, await work.answer(1));
    case 'malformed':
      if (!(await done(act))) return;
      billed(act);
      return whole(act, { status: 200, outcome: 'fault' }, broken(act));
    case 'billed-then-lost':
      await work.answer(1);
      if (!(await done(act))) return;
      billed(act);
      return sever(act);
    case 'wrong-usage':
      return finish(act, USAGE_TIMES);
    case null:
      return finish(act, 1);
  }
}

async function finish(act: Act, usageTimes: number): Promise<void> {
  const { work, fault, latencyMs } = act;
  const outcome: Outcome = fault === null ? 'ok' : 'fault';
  if (work.events && latencyMs > 0) return stream(act, work.events(usageTimes), false);
  const answer = work.events ? eventStream(work.events(usageTimes)) : work.answer(usageTimes);
  if (latencyMs > 0 && !(await done(act))) return;
  const made = answer instanceof Promise ? await answer : answer;
  if (act.live.call.endedAt !== null) return;
  billed(act);
  whole(act, { status: 200, outcome }, made);
}

/** Waits until the latency has passed since the call began. False: it ended in between. */
async function done({ live, latencyMs }: Act): Promise<boolean> {
  const rest = live.call.startedAt + latencyMs - performance.now();
  if (rest > 0) await new Promise<void>((resolve) => (live.timer = setTimeout(resolve, rest)));
  return live.call.endedAt === null;
}

function billed({ sim, live, work }: Act): void {
  live.call.billed = true;
  if (live.key !== null) sim.results.put(live.key, work);
}

const json = (value: object): Answer => ({ contentType: 'application/json', body: JSON.stringify(value) });
const eventStream = (events: string[]): Answer => ({
  contentType: 'text/event-stream',
  body: events.join(''),
});

function fail(act: Act, error: SimError): void {
  const headers = act.fault === '429-retry-after' ? ['retry-after', '1'] : [];
  whole(
    act,
    { status: error.status, outcome: 'fault' },
    { contentType: 'application/json', body: error.body(), headers },
  );
}

function broken({ live, work }: Act): Answer {
  const text = BROKEN[((live.call.attempt ?? 1) - 1) % BROKEN.length]!;
  if (work.events) return eventStream([`data: ${text}\n\n`, 'data: [DONE]\n\n']);
  return { contentType: 'application/json', body: text };
}

/** The answer to a call that could not be done: the caller's fault by a SimError, else our own. */
export function refuse(sim: Simulator, live: Live, error: unknown): void {
  const known =
    error instanceof SimError ? error : new SimError(500, 'server_error', 'The simulator failed.');
  if (known !== error) console.error(error);
  const outcome = known === error ? 'refused' : 'failed';
  whole(
    { sim, live },
    { status: known.status, outcome },
    { contentType: 'application/json', body: known.body() },
  );
}

/** The answer in one piece, its length said beforehand. */
function whole(
  { sim, live }: Pick<Act, 'sim' | 'live'>,
  { status, outcome }: { status: number; outcome: Outcome },
  { contentType, body, headers = [] }: Answer,
): void {
  if (live.call.endedAt !== null) return;
  live.response.writeHead(status, headOf(live, { contentType, body, headers }));
  live.response.end(body, () => sim.end(live, outcome));
}

const headOf = ({ id }: Live, { contentType, body, headers = [] }: Answer): string[] => [
  'content-type',
  contentType,
  'content-length',
  String(Buffer.byteLength(body)),
  'x-request-id',
  id,
  ...headers,
];

/** The events one by one, spread over the latency. `half`: the socket is destroyed in the middle. */
function stream(act: Act, events: string[], half: boolean): void {
  const { sim, live, latencyMs } = act;
  const last = half ? Math.ceil(events.length / 2) : events.length;
  const timeOf = (count: number): number => live.call.startedAt + (latencyMs * count) / events.length;
  live.response.writeHead(200, [
    'content-type',
    'text/event-stream',
    'cache-control',
    'no-cache',
    'x-request-id',
    live.id,
  ]);
  let sent = 0;
  const send = (): void => {
    let text = '';
    const now = performance.now();
    while (sent < last && (text === '' || timeOf(sent + 1) <= now)) text += events[sent++]!;
    if (sent < last) {
      live.response.write(text);
      live.timer = setTimeout(send, Math.max(0, timeOf(sent + 1) - performance.now()));
    } else if (half) {
      live.response.write(text, () => sever(act));
    } else {
      billed(act);
      live.response.end(text, () => sim.end(live, act.fault === null ? 'ok' : 'fault'));
    }
  };
  live.timer = setTimeout(send, Math.max(0, timeOf(1) - performance.now()));
}

function sever({ sim, live }: Act): void {
  sim.end(live, 'fault');
  live.socket.destroy();
}

async function cut(act: Act, answer: Answer): Promise<void> {
  if (!(await done({ ...act, latencyMs: act.latencyMs / 2 }))) return;
  act.live.response.writeHead(200, headOf(act.live, answer));
  const bytes = Buffer.from(answer.body);
  act.live.response.write(bytes.subarray(0, bytes.length >> 1), () => sever(act));
}

function drip({ sim, live }: Act, answer: Answer): void {
  if (live.call.endedAt !== null) return;
  const bytes = Buffer.from(answer.body);
  live.response.writeHead(200, headOf(live, answer));
  let sent = 0;
  const send = (): void => {
    live.response.write(bytes.subarray(sent, ++sent));
    if (sent < bytes.length) live.timer = setTimeout(send, DRIP_MS);
    else live.response.end(() => sim.end(live, 'fault'));
  };
  send();
}
