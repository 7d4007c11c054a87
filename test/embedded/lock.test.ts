import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { LockFile } from '../../src/embedded/lock.ts';
import { diesWithUs } from '../support/undertaker.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-lock-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A process that takes the lock, forgets its object, collects the garbage, says so, and stays. */
async function holder(file: string, how: 'tryExclusive' | 'tryShared') {
  const code = `
    const { LockFile } = await import(${JSON.stringify(new URL('../../src/embedded/lock.ts', import.meta.url).href)});
    const taken = (() => new LockFile(${JSON.stringify(file)}).${how}())();
    for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
    console.log(taken);
    setInterval(() => {}, 1000);`;
  const args = ['--expose-gc', '--input-type=module', '-e', code];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  diesWithUs(child);
  const [said] = await once(child.stdout, 'data');
  const end = async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { took: String(said).trim() === 'true', end };
}

describe('LockFile', () => {
  it('keeps other processes out until its holder is killed, even one that forgot it', async () => {
    const file = join(folder, 'killed');
    const other = await holder(file, 'tryExclusive');
    const mine = new LockFile(file);
    expect([other.took, mine.tryExclusive(), mine.tryShared()]).toEqual([true, false, false]);
    await other.end();
    expect(mine.tryExclusive()).toBe(true);
    mine.close();
  });

  it('is shared by many, and taken whole only by who is alone', async () => {
    const file = join(folder, 'shared');
    const others = await Promise.all([holder(file, 'tryShared'), holder(file, 'tryShared')]);
    const mine = new LockFile(file);
    expect([...others.map((other) => other.took), mine.tryShared()]).toEqual([true, true, true]);
    mine.unlock();
    expect(mine.tryExclusive()).toBe(false);
    await others[0]?.end();
    expect(mine.tryExclusive()).toBe(false);
    await others[1]?.end();
    expect(mine.tryExclusive()).toBe(true);
    mine.close();
  });

  it('tells two holders of one process apart, and outlives the deletion of its file', () => {
    const [one, two] = [new LockFile(join(folder, 'twice')), new LockFile(join(folder, 'twice'))];
    expect([one.tryShared(), two.tryShared()]).toEqual([true, true]);
    rmSync(join(folder, 'twice'));
    one.unlock();
    expect(one.tryExclusive()).toBe(false);
    two.close();
    expect(one.tryExclusive()).toBe(true);
    one.close();
  });

  it('waits its turn, and says who is in the way when the time is up', async () => {
    const file = join(folder, 'turn');
    const other = await holder(file, 'tryExclusive');
    const mine = new LockFile(file);
    await expect(mine.exclusive({ timeoutMs: 50 })).rejects.toThrow(/another process has held .*turn/);
    const turn = mine.exclusive({ timeoutMs: 10_000 });
    await other.end();
    await turn;
    mine.close();
  });

  it('names the folder it cannot write to', () => {
    expect(() => new LockFile(join(folder, 'missing', 'x'))).toThrow(/cannot open the lock .*missing/);
  });
});
