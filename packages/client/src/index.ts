// @millrace/client: submit, wait, stream, subscribe, verify; and every route, typed.
export { type Client, type ClientOptions, createClient, type SubmitOptions } from './client.ts';
export { MillraceError, SignatureError } from './errors.ts';
export { type Job, type JobMessage, type MillraceEvent, type Submission, TERMINAL } from './events.ts';
export type { paths } from './schema.ts';
export type { WebSocketClass, WebSocketLike } from './socket.ts';
export type { StreamOptions } from './stream.ts';
export type { Heard, SubscribeOptions } from './subscribe.ts';
export { verify, type VerifyOptions } from './verify.ts';
