// A server that cannot be used at the start, told in one line: which variable names it, where it is, why not, what to do.

/** @param server `variable` names it in the environment; of `url` the password is never repeated */
export async function reach<T>(server: { variable: string; url: string }, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    const remedy = remedyFor(error as Fault, server.variable);
    if (remedy === null) throw error;
    const { host, pathname } = new URL(server.url);
    const why = textOf(error as Fault).replace(/\.$/, '');
    throw new Error(`${server.variable} names ${host}${pathname}, which cannot be used: ${why}. ${remedy}`, {
      cause: error,
    });
  }
}

type Fault = Error & { code?: unknown; errors?: Error[] };

/** Where a name has several addresses, each failed for itself, and the whole says nothing. */
function textOf({ message, errors = [], code }: Fault): string {
  return message || errors.map((one) => one.message).join(', ') || String(code);
}

const NETWORK = /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE)$/;
const NAME = /^(ENOTFOUND|EAI_AGAIN)$/;

/** Null for what is no fault of the address or the login: that error speaks for itself. */
function remedyFor(error: Fault, variable: string): string | null {
  const code = String(error.code ?? '');
  const text = textOf(error);
  if (NAME.test(code)) return `Correct the host in ${variable}.`;
  if (NETWORK.test(code) || /timeout|terminated unexpectedly|Connection is closed/i.test(text))
    return `Start that server, or correct ${variable}.`;
  if (/unsupported startup parameter/.test(text))
    return `It seems to be a pooler: ${variable} must lead to PostgreSQL itself.`;
  if (/^28|^3D/.test(code) || /WRONGPASS|NOAUTH|SSL/.test(text)) return `Correct ${variable}.`;
  if (/role "/.test(text))
    return `Run npm run migrate, and let this login SET ROLE; docs/database.md has the statements.`;
  if (/^57P0|^53/.test(code)) return 'Try again when it is.';
  return null;
}
