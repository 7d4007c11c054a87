// Loaded before anything else (`node --import`), and written so that old versions of Node can run it: left to themselves
// they would end at the first line of TypeScript with a message that helps nobody.
import { existsSync } from 'node:fs';

const NEEDED = 24;

if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  // npm puts node_modules/.bin first on the PATH, where the package `node` has its own Node, once its script has run.
  const remedy = existsSync(new URL('../node_modules/node', import.meta.url))
    ? 'npm was not allowed to run install scripts; run "npm rebuild node --ignore-scripts=false" to get one for this project'
    : 'Run "npm ci", which gets one for this project';
  process.stderr.write(
    `millrace: Node ${NEEDED} or newer is needed, and this is ${process.version}. ${remedy}, or install it from nodejs.org.\n`,
  );
  process.exit(1);
}
