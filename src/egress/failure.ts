/** What an error of a connection is called towards a client: codes that are known, words that name no address. */
export function failureOf(error: unknown): { code: string; message: string } {
  const { code = '', message = '', name } = error as { code?: string; message?: string; name?: string };
  if (code in SAID) return { code, message: SAID[code] as string };
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return { code: 'EPROTO', message: 'The head of the answer is larger than 16 KiB.' };
  if (name === 'HTTPParserError' || code.startsWith('UND_ERR_RES_') || code === 'UND_ERR_NOT_SUPPORTED')
    return { code: 'EPROTO', message: 'The answer is not HTTP/1.1.' };
  if (code === 'UND_ERR_SOCKET' || code === 'EPIPE' || code === 'UND_ERR_DESTROYED')
    return { code: 'ECONNRESET', message: SAID.ECONNRESET as string };
  if (
    /^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA|EPROTO$)/.test(
      code,
    )
  )
    return { code: 'ETLS', message: `TLS could not be agreed upon: ${tlsReason(code, message)}.` };
  return { code: 'EFAILED', message: 'The connection failed.' };
}

const SAID: Record<string, string> = {
  EDNS: 'The name servers of the host do not answer.',
  ECONNREFUSED: 'The host refused the connection.',
  ECONNRESET: 'The connection was closed before there was an answer.',
  ETIMEDOUT: 'The host does not answer.',
  EHOSTUNREACH: 'The host cannot be reached.',
  ENETUNREACH: 'The host cannot be reached.',
};

function tlsReason(code: string, message: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'the certificate is of another name';
  if (code === 'CERT_HAS_EXPIRED') return 'the certificate has expired';
  if (code.startsWith('ERR_SSL') || /wrong version|alert/i.test(message)) return 'the host does not speak it';
  return 'the certificate is not to be trusted';
}
