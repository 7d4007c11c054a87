// A name server on UDP that answers as its zone says, differently each time if it likes.
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import ipaddr from 'ipaddr.js';

const TYPES = { 1: 'A', 5: 'CNAME', 28: 'AAAA' } as const;
type Type = 'A' | 'AAAA';

/**
 * What a question is answered with: addresses of that type (none: there are none), aliases before them, no such name, a
 * failure, or nothing at all. `nth` counts the questions of that name and type from 1.
 */
export type Zone = (
  name: string,
  type: Type,
  nth: number,
) => { addresses: string[]; aliases?: string[] } | 'no such name' | 'failure' | 'silence';

export interface NameServer {
  /** As `Resolver.setServers` takes it. */
  server: string;
  /** Questions so far of a name, of both types. */
  asked(name: string): number;
  close(): Promise<void>;
}

export async function startNameServer(zone: Zone): Promise<NameServer> {
  const socket = createSocket('udp4');
  const counts = new Map<string, number>();
  socket.on('message', (query: Buffer, from: RemoteInfo) => {
    const { name, type, end } = questionOf(query);
    const key = `${name} ${type}`;
    const nth = (counts.get(key) ?? 0) + 1;
    counts.set(key, nth);
    const found = type === null ? ('failure' as const) : zone(name, type, nth);
    if (found === 'silence') return;
    const code = found === 'no such name' ? 3 : found === 'failure' ? 2 : 0;
    const records = typeof found === 'string' ? [] : recordsOf(name, found);
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(0x8180 | code, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    head.writeUInt32BE(0, 8);
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    server: `127.0.0.1:${socket.address().port}`,
    asked: (name) => (counts.get(`${name} A`) ?? 0) + (counts.get(`${name} AAAA`) ?? 0),
    close: async () => void (socket.close(), await once(socket, 'close')),
  };
}

function questionOf(query: Buffer): { name: string; type: Type | null; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = TYPES[query.readUInt16BE(at + 1) as keyof typeof TYPES];
  const asked = type === 'A' || type === 'AAAA' ? type : null;
  return { name: labels.join('.').toLowerCase(), type: asked, end: at + 5 };
}

function recordsOf(
  name: string,
  { addresses, aliases = [] }: { addresses: string[]; aliases?: string[] },
): Buffer[] {
  const names = [name, ...aliases];
  const chain = aliases.map((alias, i) => record(names[i]!, 5, written(alias)));
  return [
    ...chain,
    ...addresses.map((address) => {
      const bytes = Buffer.from(ipaddr.parse(address).toByteArray());
      return record(names.at(-1)!, bytes.length === 4 ? 1 : 28, bytes);
    }),
  ];
}

/** Kept by nobody: its time to live is 0. */
function record(owner: string, type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([written(owner), fixed, data]);
}

function written(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  return Buffer.concat([...labels, Buffer.alloc(1)]);
}
