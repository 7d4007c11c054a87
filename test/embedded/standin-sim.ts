// The least that the embedded services ask of a simulator: say where you listen, answer /healthz, end on SIGTERM.
import { createServer } from 'node:http';

const host = process.env.SIM_HOST ?? '127.0.0.1';
const server = createServer((request, response) => {
  response.statusCode = request.url === '/healthz' ? 200 : 404;
  response.end(String(process.pid));
});
server.listen(Number(process.env.SIM_PORT ?? 0), host, () => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  process.stdout.write(`${JSON.stringify({ sim_url: `http://${host}:${port}` })}\n`);
});
