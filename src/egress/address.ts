// Which addresses are public. What is not known to be is not.
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');
/** Translators of IPv4 (RFC 6052): where one stands, names that have no IPv6 address lead there, so what is meant is judged. */
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
/** Public by its number, and yet the metadata and agents' server inside every Azure machine. */
const WIRE_SERVER = '168.63.129.16';

/** Whether addresses, in any usual notation, all belong to the public internet and none to this machine. */
export function arePublic(texts: readonly string[]): boolean {
  const own = ownAddresses();
  return texts.every((text) => {
    const address = parse(text);
    return address !== null && isUnicast(address) && !own.has(address.toNormalizedString());
  });
}

/** One address in one notation, so that two can be compared; null: none. */
export function canonical(text: string): string | null {
  return parse(text)?.toNormalizedString() ?? null;
}

/** An IPv4 address in the clothes of IPv6 is taken for what it is. */
function parse(text: string): Address | null {
  const plain = text.includes(':') ? unmixed(text) : text;
  if (plain === null || !ipaddr.isValid(plain)) return null;
  const address = ipaddr.parse(plain);
  if (address.kind() === 'ipv4') return address;
  const wide = address as ipaddr.IPv6;
  return wide.isIPv4MappedAddress() ? wide.toIPv4Address() : wide;
}

/**
 * IPv6 without dots, which ipaddr.js would read otherwise: it takes `::8.8.8.8` for `::ffff:8.8.8.8`. Null: none, or one with a
 * zone, which is an interface's and so never public.
 */
function unmixed(text: string): string | null {
  const url = URL.parse(`http://[${text}]/`);
  return url && url.hostname.slice(1, -1);
}

function isUnicast(address: Address): boolean {
  if (address.kind() === 'ipv4') return address.range() === 'unicast' && address.toString() !== WIRE_SERVER;
  const wide = address as ipaddr.IPv6;
  if (wide.match(NAT64)) return isUnicast(new ipaddr.IPv4(wide.toByteArray().slice(12)));
  // What is not global, or a tunnel to IPv4 (6to4, Teredo), is nobody's server.
  return wide.match(GLOBAL_IPV6) && wide.range() === 'unicast';
}

/** A machine's own public addresses lead behind its firewall. */
function ownAddresses(): ReadonlySet<string | null> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(all.map(({ address }) => canonical(address)));
}
