// Where a server that listens on a host and a port is found.

/** Whether `host` stands for every address of a machine, so that it is none that anybody could be sent to. */
export function isEveryAddress(host: string): boolean {
  return /^[0.:]+$/.test(host);
}

/** The root of its URLs, without a trailing slash. One that listens everywhere is found by its own machine alone. */
export function rootOf(host: string, port: number): string {
  if (isEveryAddress(host)) return `http://localhost:${port}`;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
