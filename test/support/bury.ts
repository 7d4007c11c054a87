// Ends the servers of a test whose process was killed, and deletes their folder: `node bury.ts postgres|embedded <folder>`
// (undertaker.ts).
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { stopEmbedded } from '../../src/embedded/join.ts';
import { stopServer } from '../../src/embedded/postgres/server.ts';

const [, , what, folder = ''] = process.argv;
if (what === 'postgres') await stopServer(join(folder, 'home'), 'immediate');
if (what === 'embedded') await stopEmbedded(join(folder, 'data'));
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
