// A URL, judged by its looks: what can be said of it without asking anybody for its name.
import ipaddr from 'ipaddr.js';
import { arePublic } from './address.ts';
import type { Refusal } from './egress.ts';

/** What is dialled for a URL. */
export interface Target {
  url: string;
  origin: string;
  /** With the query, without the fragment. */
  path: string;
  /** A name, or an address without brackets. */
  host: string;
  literal: boolean;
  port: number;
  secure: boolean;
  /** By the operator, to be private, plain and on any port. */
  allowed: boolean;
}

const MOST_CHARACTERS = 8_192;
const MOST_NAME = 253;
const PORTS: ReadonlySet<number> = new Set([443, 8443]);
/** Names that lead into the network of whoever asks, by their standard or by habit. */
const LOCAL_NAME = /(^|\.)(localhost|local|localdomain|internal|intranet|lan|home|corp|private|home\.arpa)$/;

/** @param allowed hosts as `canonicalHost` gives them */
export function judge(url: string, allowed: ReadonlySet<string>): { target: Target } | { refusal: Refusal } {
  // A parser would drop or turn these round, and another one not.
  if (url.length > MOST_CHARACTERS || /[\s\\\p{Cc}\p{Cf}]/u.test(url) || !URL.canParse(url))
    return { refusal: 'malformed' };
  const parsed = new URL(url);
  const secure = parsed.protocol === 'https:';
  if (!secure && parsed.protocol !== 'http:') return { refusal: 'scheme' };
  const authority = /^https?:\/\/([^/?#]+)/i.exec(url)?.[1];
  if (authority === undefined) return { refusal: 'malformed' };
  if (authority.includes('@')) return { refusal: 'userinfo' };
  const host = bare(parsed.hostname);
  const literal = ipaddr.isValid(host);
  if (!literal && !isName(host)) return { refusal: 'malformed' };
  const isAllowed = allowed.has(host);
  const port = Number(parsed.port || (secure ? 443 : 80));
  const target = {
    url: parsed.href,
    // From the parts: a dot after the root is none of the certificate's names, nor of the server's.
    origin: `${parsed.protocol}//${host.includes(':') ? `[${host}]` : host}:${port}`,
    path: `${parsed.pathname}${parsed.search}`,
    host,
    literal,
    port,
    secure,
    allowed: isAllowed,
  };
  if (isAllowed) return { target };
  if (!secure) return { refusal: 'scheme' };
  if (literal ? !arePublic([host]) : isLocal(host)) return { refusal: 'private_address' };
  return PORTS.has(port) ? { target } : { refusal: 'port' };
}

/** A host as URLs name it, in the one form that is compared; null: none. */
export function canonicalHost(text: string): string | null {
  // A parser drops a port that is the scheme's own.
  if (text.includes(']:')) return null;
  const host = text.includes(':') && !text.startsWith('[') ? `[${text}]` : text;
  if (/[\s\\/?#@\p{Cc}\p{Cf}]/u.test(host) || !URL.canParse(`http://${host}/`)) return null;
  const { hostname, port } = new URL(`http://${host}/`);
  const found = bare(hostname);
  return port === '' && (ipaddr.isValid(found) || isName(found)) ? found : null;
}

/** Without the brackets of IPv6 and the dot after the root. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.+)\]$/, '$1').replace(/\.$/, '');
}

function isName(host: string): boolean {
  return (
    host.length <= MOST_NAME &&
    host.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
  );
}

/** Names of one label are the local network's, too. */
function isLocal(name: string): boolean {
  return !name.includes('.') || LOCAL_NAME.test(name);
}
