// The simulator as a process: SIM_PORT (default 0: a free one), SIM_HOST (127.0.0.1). Says where it listens in one JSON line.
import type { AddressInfo } from 'node:net';
import { simServer } from './server/server.ts';

const host = process.env.SIM_HOST || '127.0.0.1';
const server = simServer();

server.listen({ port: Number(process.env.SIM_PORT || 0), host, backlog: 4_096 }, () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ sim_url: `http://${host.includes(':') ? `[${host}]` : host}:${port}` }));
});
server.on('error', (error) => {
  console.error(`The simulator cannot listen on ${host}: ${error.message}`);
  process.exit(1);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
