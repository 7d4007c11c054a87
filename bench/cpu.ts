// Which process the cores were busy for, from /proc: what bounds a figure.
import { readdirSync, readFileSync } from 'node:fs';

export interface CpuShare {
  name: string;
  /** Of one core. */
  percent: number;
}

interface Times {
  at: number;
  ticks: Map<number, { name: string; ticks: number }>;
}

const TICKS_A_SECOND = 100;

export function cpuTimes(): Times {
  const ticks = new Map<number, { name: string; ticks: number }>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks.set(Number(entry), { name, ticks: Number(fields[11]) + Number(fields[12]) });
    } catch {
      // It ended while we looked.
    }
  }
  return { at: performance.now(), ticks };
}

/** Since `before`, by process: those named by pid, and the rest by their program's name. */
export function shares(before: Times, names: Record<number, string>): CpuShare[] {
  const now = cpuTimes();
  const seconds = (now.at - before.at) / 1000;
  const sums = new Map<string, number>();
  for (const [pid, { name, ticks }] of now.ticks) {
    const used = ticks - (before.ticks.get(pid)?.ticks ?? 0);
    const label = names[pid] ?? name;
    sums.set(label, (sums.get(label) ?? 0) + used);
  }
  return [...sums]
    .map(([name, ticks]) => ({ name, percent: Math.round((ticks / TICKS_A_SECOND / seconds) * 100) }))
    .filter(({ percent }) => percent >= 2)
    .toSorted((a, b) => b.percent - a.percent);
}
