// Loaded into the simulator before its own code (`node --import`): holds the lock that says "the simulator runs".
// The kernel frees it with the process, so nobody has to judge a pid, and two simulators of one folder cannot be.
import { writeSync } from 'node:fs';
import { LockFile } from './lock.ts';

const path = process.env.SIM_HOLD;
if (!path) throw new Error('SIM_HOLD must name the lock file');

const lock = new LockFile(path);
try {
  // Those who look whether the lock is free hold it for a moment.
  await lock.exclusive({ timeoutMs: 1_000 });
} catch {
  process.stderr.write('another simulator of this folder runs already\n');
  process.exit(0);
}
writeSync(1, `${JSON.stringify({ pid: process.pid })}\n`);

// Whoever deletes the data folder means us too: PostgreSQL ends itself in the same way.
setInterval(() => {
  if (!lock.isInPlace()) process.kill(process.pid, 'SIGTERM');
}, 2_000).unref();
