// Alerts and board stand on metrics that a live platform really tells, with the labels they have there; and each alert has its
// lines in the runbook. promtool has checked their grammar, by hand.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from 'undici';
import { chat } from '../support/client.ts';
import { readText, readYaml } from '../support/compose.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { spawnWorker } from '../support/spawn.ts';

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; runbook: string };
}

const rules = (readYaml('deploy/prometheus/alerts.yml') as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
interface Panel {
  title: string;
  targets?: { expr: string; legendFormat: string }[];
}
const board = JSON.parse(readText('deploy/grafana/boards/millrace.json')) as { uid: string; panels: Panel[] };
const targets = board.panels.flatMap(({ targets = [] }) => targets);
const questions = [...rules.map(({ expr }) => expr), ...targets.map(({ expr }) => expr)];

/** What Prometheus adds, and what a histogram's series have. */
const OF_PROMETHEUS = ['job', 'instance', 'le'];

/** Labels by metric. */
const told = new Map<string, Set<string>>();
let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  const worker = await spawnWorker(millrace, { env: { METRICS_PORT: '0' }, queues: 'chat' });
  const apart = /metrics at (http\S+)\/metrics/.exec(worker.log.join('\n'))?.[1] ?? '';
  const account = await millrace.account();
  await account.run(chat());
  // One that waits for a worker: only then is there an oldest.
  await account.submit({ model: 'sim/image', input: { prompt: 'a mill' } });
  await account.get('/v1/jobs/nothing');
  for (const url of [millrace.url, apart]) {
    const text = await (await request(`${url}/metrics`)).body.text();
    for (const [, name = '', labels = ''] of text.matchAll(/^([a-z_0-9]+)(?:\{(.*)\})? \S+$/gm)) {
      const known = told.get(name) ?? new Set();
      for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
      told.set(name, known);
    }
  }
  await worker.drain();
}, 60_000);
afterAll(() => millrace.stop());

const metricsOf = (expr: string): string[] => [...new Set(expr.match(/\bmillrace_[a-z0-9_]+/g))];
/** In selectors and groupings. */
const groupsOf = (expr: string): Set<string> =>
  new Set([...expr.matchAll(/\bby \(([^)]+)\)/g)].flatMap(([, labels = '']) => labels.split(/,\s*/)));
const labelsOf = (expr: string): string[] => [
  ...[...expr.matchAll(/(\w+)(?:=|!=|=~|!~)"/g)].map(([, label]) => label as string),
  ...groupsOf(expr),
];

it('asks for metrics that there are', () => {
  const used = new Set(questions.flatMap(metricsOf));
  expect(used.size).toBeGreaterThan(15);
  const unknown = [...used].filter((name) => !told.has(name));
  expect(unknown).toEqual([]);
});

it.each(questions)('asks by labels that are there: %s', (expr) => {
  const metrics = metricsOf(expr).filter((name) => told.has(name));
  if (metrics.length === 0) return expect(expr).toMatch(/\bup\{/);
  const known = new Set([...OF_PROMETHEUS, ...metrics.flatMap((name) => [...(told.get(name) ?? [])])]);
  return expect(labelsOf(expr).filter((label) => !known.has(label))).toEqual([]);
});

describe.each(rules)('the alert $alert', ({ alert, expr, labels, annotations }) => {
  it('says how bad it is, and what is the matter, in labels it has', () => {
    expect(['page', 'ticket']).toContain(labels.severity);
    const named = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label as string);
    const grouped = groupsOf(expr);
    expect(named.filter((label) => !grouped.has(label))).toEqual([]);
  });

  it('has its lines in the runbook', () => {
    expect(annotations.runbook).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    const [, lines = ''] = readText('docs/alerts.md').split(`\n## ${alert}\n`);
    const [section = ''] = lines.split('\n#');
    expect(section.trim().length, alert).toBeGreaterThan(100);
  });
});

it('leaves no alert in the runbook that is none', () => {
  const headed = [...readText('docs/alerts.md').matchAll(/^## (Millrace\w+)$/gm)].map(([, name]) => name);
  expect(headed.toSorted()).toEqual(rules.map(({ alert }) => alert).toSorted());
});

describe('the board', () => {
  it('names in its legends the labels that its questions keep', () => {
    for (const { expr, legendFormat } of targets) {
      const kept = groupsOf(expr);
      const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label as string);
      expect(
        named.filter((label) => !kept.has(label)),
        expr,
      ).toEqual([]);
    }
    expect(board.uid).toBe('millrace');
  });
});
