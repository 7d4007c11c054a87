// A test run that is killed before it can clean up (servers.test.ts).
import { startTestPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { findPostmaster } from '../../src/embedded/postgres/server.ts';
import { join } from 'node:path';

const [postgres, redis] = await Promise.all([startTestPostgres({ durable: true }), startRedis()]);
const postmaster = await findPostmaster(join(postgres.folder, 'home'));
process.send?.({
  folder: postgres.folder,
  postmaster: postmaster?.pid,
  redis: redis.pid,
  url: await postgres.createDatabase(),
});
setInterval(() => {}, 1_000);
