// A process that runs an engine until it is killed: `node hold.ts <folder of programs>`.
import { join } from 'node:path';
import { execProvider } from '../../../src/providers/exec/index.ts';
import { callOf } from '../support.ts';
import { engineRoute } from './scripts.ts';

const [, , path = ''] = process.argv;
const provider = execProvider({ path, modelsDir: join(path, 'models'), roomsDir: join(path, 'rooms') });
await provider.call(engineRoute('flite'), callOf('tts', { input: 'Hold on.' }));
