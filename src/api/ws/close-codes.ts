/** What a socket is closed with (contract 14); from 4400 on after HTTP's own. */
export const CLOSE = {
  internal: 1011,
  drain: 1012,
  slow: 1013,
  nonsense: 4400,
  unauthorized: 4401,
  forbidden: 4403,
  silent: 4408,
  tooMany: 4429,
} as const;
