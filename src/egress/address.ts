// Which addresses are public. What is not known to be is not.
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');
/** Translators of IPv4 (RFC 6052): where one stands, names that have no IPv6 address lead there, so what is meant is judged. */
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
/** Public by its number, and yet the metadata and agents' server inside every Azure machine. */
const WIRE_SERVER = '168.63.129.16';

/** Whether an address, in any usual notation, belongs to the public internet and not to this machine. */
export function isPublic(text: string): boolean {
  const address = parse(text);
  return address !== null && isUnicast(address) && !isOwn(address);
}

/** One address in one notation, so that two can be compared; null: none. */
export function canonical(text: string): string | null {
  return parse(text)?.toNormalizedString() ?? null;
}

/** An IPv4 address in the clothes of IPv6 is taken for what it is. */
function parse(text: string): Address | null {
  if (!ipaddr.isValid(text)) return null;
  const address = ipaddr.parse(text);
  if (address.kind() === 'ipv4') return address;
  const wide = address as ipaddr.IPv6;
  if (wide.isIPv4MappedAddress()) return wide.toIPv4Address();
  return wide;
}

function isUnicast(address: Address): boolean {
  if (address.kind() === 'ipv4') return address.range() === 'unicast' && address.toString() !== WIRE_SERVER;
  const wide = address as ipaddr.IPv6;
  if (wide.match(NAT64)) return isUnicast(new ipaddr.IPv4(wide.toByteArray().slice(12)));
  // No zone, which is an interface's. What is not global, or a tunnel to IPv4 (6to4, Teredo), is nobody's server.
  return !wide.zoneId && wide.match(GLOBAL_IPV6) && wide.range() === 'unicast';
}

/** A machine's own public address leads past its firewall. */
function isOwn(address: Address): boolean {
  const mine = address.toNormalizedString();
  return Object.values(networkInterfaces()).some((list) =>
    list?.some((own) => canonical(own.address) === mine),
  );
}
