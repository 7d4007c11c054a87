// What every refusal must look like (contract 9), and that it left nothing behind.
import { connect } from 'node:net';
import { expect } from 'vitest';
import { type ErrorCode, ERRORS } from '../../src/domain/errors.ts';
import type { Answer } from './client.ts';
import type { Installation } from './platform.ts';

/** Stands where a client's content stands; no refusal may repeat it. */
export const CANARY = 'kanarienvogel-5e1f';

/** @param answer of a request whose content, if any, held CANARY */
export function expectRefusal(answer: Answer, code: ErrorCode): void {
  const { status, retryable } = ERRORS[code];
  const seen = `${answer.status} ${JSON.stringify(answer.body)}`.slice(0, 1_000);
  expect(answer.status, seen).toBe(status);
  expectErrorBody(answer.body, code);
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  expect(answer.body.requestId).toBe(answer.headers['x-request-id']);
  expect(answer.headers['x-should-retry']).toBe(String(retryable));
  expect(answer.headers['x-millrace-version']).toMatch(/^\d+\.\d+\.\d+/);
}

/** The same of a body alone: a batch's items have no headers of their own. */
export function expectErrorBody(body: Answer['body'], code: ErrorCode): void {
  const { status, retryable } = ERRORS[code];
  const whole = JSON.stringify(body);
  const seen = whole.slice(0, 1_000);
  expect(Object.keys(body).toSorted(), seen).toEqual(
    ['statusCode', 'code', 'message', 'path', 'requestId', 'timestamp', 'retryable', 'details'].toSorted(),
  );
  expect(body, seen).toMatchObject({ statusCode: status, code, retryable });
  expect(body.message, seen).toMatch(/\S/);
  expect(body.requestId, seen).toMatch(/^req_[0-9a-z]{26}$/);
  expect(new Date(body.timestamp).toISOString()).toBe(body.timestamp);
  expect(whole).not.toContain(CANARY);
  expect(whole.length, 'a refusal is short, whatever was sent').toBeLessThan(2_500);
  if (code === 'invalid_json') expect(body.details.offset, seen).toBeGreaterThanOrEqual(0);
  if (code !== 'invalid_request' || !body.details.issues) return;
  expect(body.details.issues.length, seen).toBeGreaterThan(0);
  for (const issue of body.details.issues) {
    expect(Object.keys(issue).toSorted(), seen).toEqual(['expected', 'message', 'path', 'received']);
    expect(typeof issue.path, seen).toBe('string');
    expect(issue.message, seen).toMatch(/\S/);
  }
}

/**
 * How many rows each table has. Left out are the queue's, which is rung behind the answer of whoever came before, and the
 * installation's own settings, where the sweep keeps its lease.
 */
export async function countRows({ sql }: Installation): Promise<Record<string, number>> {
  const tables = await sql<{ name: string }>(
    `select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname <> 'settings' order by 1`,
  );
  const counts = tables.map(({ name }) => `select '${name}' as name, count(*)::int as rows from ${name}`);
  const rows = await sql<{ name: string; rows: number }>(counts.join(' union all '));
  return Object.fromEntries(rows.map(({ name, rows }) => [name, rows]));
}

/** Runs `refused`, after which every table must have the rows it had. */
export async function leavesNothing(installation: Installation, refused: () => Promise<void>): Promise<void> {
  const before = await countRows(installation);
  await refused();
  expect(await countRows(installation)).toEqual(before);
}

/** Sends bytes to a server as they are, and reads until it closes. Null: it closed without a word. */
export function sendRaw(url: string, bytes: string | Buffer): Promise<Answer | null> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(parseAnswer(Buffer.concat(chunks).toString('latin1'))));
  });
}

/** The first answer of what a server sent; null if there is none. */
export function parseAnswer(text: string): Answer | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [first = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const length = Number(headers['content-length'] ?? Number.POSITIVE_INFINITY);
  const body = text.slice(end + 4, end + 4 + length);
  const json = /\bjson\b/.test(headers['content-type'] ?? '');
  return {
    status: Number(first.split(' ')[1]),
    headers,
    body: json && body !== '' ? JSON.parse(body) : body,
  };
}
