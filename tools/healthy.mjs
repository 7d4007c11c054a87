// Whether the role beside which it is started lives, for Docker: `node tools/healthy.mjs`. It asks at the port that the
// role's own environment names: a worker's METRICS_PORT, an API's ADMIN_PORT or PORT.
const { METRICS_PORT, ADMIN_PORT, PORT = '8080' } = process.env;
const url = `http://127.0.0.1:${METRICS_PORT || ADMIN_PORT || PORT}/healthz`;
try {
  const { status } = await fetch(url, { signal: AbortSignal.timeout(4_000) });
  if (status !== 200) throw new Error(`it answered ${status}`);
} catch (error) {
  process.stderr.write(`${url}: ${error.cause?.message ?? error.message}\n`);
  process.exitCode = 1;
}
