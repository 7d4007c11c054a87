import pg from 'pg';
import { inject } from 'vitest';
import { describe, expect, it } from 'vitest';
import { faultOf } from '../src/logging.ts';
import { shareTestPostgres } from './support/postgres.ts';

const CANARY = 'kanarienvogel-5e1f';

/** What `run` throws. */
async function thrown(run: () => unknown): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('an error in the log', () => {
  it('has its name, its message and the places it came by', async () => {
    const fault = faultOf(await thrown(() => Promise.reject(new TypeError('the wheel is stuck'))));
    expect(fault).toMatchObject({ name: 'TypeError', message: 'the wheel is stuck' });
    expect((fault.stack ?? []).length).toBeGreaterThan(0);
    for (const line of fault.stack ?? []) expect(line).toMatch(/^at /);
  });

  it('never has a message of several lines in its stack', () => {
    expect(JSON.stringify(faultOf(new Error(`first\n${CANARY}\n  at nowhere`)).stack)).not.toContain(CANARY);
  });

  it('does not repeat what JSON.parse could not read', async () => {
    const fault = faultOf(await thrown(() => JSON.parse(`{"a":${CANARY}`)));
    expect(fault.name).toBe('SyntaxError');
    expect(JSON.stringify(fault)).not.toContain(CANARY);
  });

  it('does not repeat what PostgreSQL could not take, but says what it was about', async () => {
    const postgres = await shareTestPostgres(inject('postgresFolder'));
    const client = new pg.Client({ connectionString: await postgres.createDatabase() });
    await client.connect();
    try {
      const statements = [
        [`select $1::timestamptz`, '22007'],
        [`select $1::jsonb`, '22P02'],
        [`select $1::bigint`, '22P02'],
      ];
      for (const [statement, code] of statements) {
        const fault = faultOf(await thrown(() => client.query(statement as string, [CANARY])));
        expect(fault).toMatchObject({ name: 'error', code });
        expect(JSON.stringify(fault)).not.toContain(CANARY);
      }
      await client.query('create table mill (wheel text primary key)');
      await client.query('insert into mill values ($1)', [CANARY]);
      const fault = faultOf(await thrown(() => client.query('insert into mill values ($1)', [CANARY])));
      expect(fault).toMatchObject({ code: '23505', table: 'mill', constraint: 'mill_pkey' });
      expect(JSON.stringify(fault)).not.toContain(CANARY);
    } finally {
      await client.end();
    }
  });

  it('goes down to its causes', () => {
    const cause = new Error('the river is dry');
    expect(faultOf(new Error('the wheel is stuck', { cause })).cause).toMatchObject({
      message: 'the river is dry',
    });
  });

  it('that is none is not repeated', () => {
    expect(faultOf(CANARY)).toEqual({ name: 'not an error but string', stack: [] });
  });
});
