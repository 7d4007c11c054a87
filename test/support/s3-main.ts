// The S3 server of tests as a process of its own: `node test/support/s3-main.ts [port]`. Says on its first line, as JSON, the
// environment that leads a Millrace there.
import { startS3Server } from './s3-server.ts';

const server = await startS3Server({ port: Number(process.argv[2] ?? 0) });
process.stdout.write(`${JSON.stringify(server.env)}\n`);
process.once('SIGTERM', () => void server.stop());
