import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * The one door to URLs that users gave: webhooks and inputs. Vendors are called elsewhere.
 *
 * https on port 443 or 8443 to public addresses alone; a host that the operator allowed may be private, plain, on any port.
 * A name is asked for once a connection, every address it has must be public, and one of those is dialled. Nothing is
 * decompressed, no connection is used twice, no proxy of the environment is taken (docs/decisions/0014).
 */
export interface Egress {
  /** Why this URL would never be called, as far as it shows without asking for its name; null: it may be tried. */
  refusal(url: string): Refusal | null;
  /** One request with its whole answer, or as much as is kept of it. Never throws for the far side's fault. */
  send(request: EgressRequest & { /** Most bytes kept of the body. */ keepBytes: number }): Promise<Reply>;
  /** One request whose answer is read as a stream, never faster gone for than it is read. Never throws for the far side's fault. */
  open(request: EgressRequest & { /** Most bytes of the body. */ maxBytes: number }): Promise<Opened>;
  /** Ends what is under way. */
  close(): Promise<void>;
}

/**
 * In a word that a client may be told. All but `unresolvable` show without asking DNS, if there is no name to ask for.
 * - `malformed`: no URL that we take. `scheme`: not https. `userinfo`: a name or password in it. `port`: not 443 or 8443.
 * - `private_address`: it is, or its name leads to, a place that is not public.
 * - `unresolvable`: there is no such name, which may change. Name servers that do not answer are a failure instead.
 */
export type Refusal = 'malformed' | 'scheme' | 'userinfo' | 'port' | 'private_address' | 'unresolvable';

export interface EgressRequest {
  method: 'GET' | 'POST';
  url: string;
  /** Without host, content-length and what else is the connection's. At a redirect to another origin none is sent along. */
  headers: Record<string, string>;
  body?: string | Buffer;
  /** Redirects that are followed, each judged anew; only a GET's. 0: a redirect is an answer like any other. */
  maxHops: number;
  /** Most ms from the call to the end of the answer's body, all hops together. */
  totalMs: number;
  signal?: AbortSignal;
}

/** `ms` counts from the call. */
export type Reply = (Answered & { body: Buffer; /** More was to come. */ truncated: boolean }) | Unanswered;

/**
 * The stream fails with an EgressCut, unless its reader destroys it. It must be read to its end, or destroyed. Of a body
 * that is longer than `maxBytes` by its own word the answer is `too_large` at once.
 */
export type Opened = (Answered & { body: Readable }) | Unanswered | { how: 'too_large'; ms: number };

export interface Answered {
  how: 'answered';
  status: number;
  headers: IncomingHttpHeaders;
  /** Of a redirect that was not followed: where it leads, at most 2,048 characters of it. */
  location: string | null;
  ms: number;
}

export type Unanswered =
  | { how: 'refused'; refusal: Refusal; ms: number }
  /** `code` such as ECONNREFUSED, ECONNRESET, EDNS (name servers do not answer), ETLS, EPROTO; `message` may be shown to the client. */
  | { how: 'failed'; code: string; message: string; ms: number }
  | { how: 'timeout'; ms: number }
  /** By the request's own signal, or by close. */
  | { how: 'stopped'; ms: number };

/** Why a body ended before its end. */
export class EgressCut extends Error {
  readonly why: 'too_large' | 'timeout' | 'stopped' | 'lost';

  constructor(why: EgressCut['why']) {
    super(`the body was cut: ${why}`);
    this.name = 'EgressCut';
    this.why = why;
  }
}
