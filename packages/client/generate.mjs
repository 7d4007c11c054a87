// Writes the types of an OpenAPI document to stdout: `node generate.mjs < openapi.json`. Run by test/client/schema.test.ts,
// which asks a live platform for the document and holds src/schema.ts to it.
import openapi, { astToString, COMMENT_HEADER } from 'openapi-typescript';

let text = '';
for await (const chunk of process.stdin) text += chunk;
process.stdout.write(COMMENT_HEADER + astToString(await openapi(JSON.parse(text))));
