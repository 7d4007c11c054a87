import { lastLines } from '../error.ts';

const COMPLAINT = /\b(FATAL|PANIC|ERROR|WARNING): |^(postgres|initdb): (error|could not)|error while loading/;

/** What PostgreSQL's programs complain of, in one line without times and pids. Empty if they do not. */
export function complaints(text: string): string {
  const lines = text.split('\n').filter((line) => COMPLAINT.test(line));
  return lastLines(lines.map((line) => line.replace(/^[-\d]+ [:.\d]+ \S+ \[\d+\] /, '')).join('\n'));
}
