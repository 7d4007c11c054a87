// A numbered event's body (contract 12): built once, stored, and carried unchanged by every channel.

export interface EventHead {
  id: string;
  type: string;
  sequence: bigint;
  at: Date;
  accountId: string;
  livemode: boolean;
}

/** @param dataJson JSON text, spliced in as it is */
export function renderEvent(
  { id, type, sequence, at, accountId, livemode }: EventHead,
  dataJson: string,
): string {
  const head = JSON.stringify({
    id,
    object: 'event',
    type,
    timestamp: at,
    api_version: 'v1',
    livemode,
    account_id: accountId,
  });
  return `${head.slice(0, -1)},"sequence":${sequence},"data":${dataJson}}`;
}

/** An event about the account itself. */
export function renderAccountEvent(head: EventHead, data: Record<string, unknown>): string {
  return renderEvent(head, JSON.stringify(data));
}
