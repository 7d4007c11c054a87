// Wake-ups between processes. They carry ids and are sent after commit; what they announce is read from PostgreSQL, so
// one that is lost costs a moment (readers also look by themselves), never a fact.

export type Wake =
  /** This job changed in a way that an event tells. */
  | { type: 'job'; accountId: string; jobId: string }
  /** It changed in a way that only its own stream tells: it runs, it waits again, it said more. */
  | { type: 'live'; jobId: string }
  /** Something of this account changed that belongs to no job. */
  | { type: 'account'; accountId: string }
  /** The job's stop was asked: its worker should act. */
  | { type: 'stop'; jobId: string }
  /** There are events to be brought to webhooks. */
  | { type: 'deliveries' }
  /** A vendor says that it is done with this job's work: who polls for it should look. */
  | { type: 'remote'; jobId: string }
  /** Models, routes, prices, plans or keys changed. */
  | { type: 'catalogue' }
  /** Wake-ups may have been lost, of any type: everybody looks. */
  | { type: 'missed' };

export interface Bus {
  /** Fire and forget. */
  publish(wakes: readonly Wake[]): void;
  subscribe(listener: (wake: Wake) => void): () => void;
  close(): Promise<void>;
}

/** NOTIFY takes less than 8,000 bytes, so lists are packed into messages below that. */
const MESSAGE_MAX_BYTES = 7_500;

export function pack(wakes: readonly Wake[]): string[] {
  const messages: string[] = [];
  let message = '';
  for (const word of new Set(wakes.map(encode))) {
    if (message !== '' && message.length + word.length + 1 > MESSAGE_MAX_BYTES) {
      messages.push(message);
      message = '';
    }
    message += (message === '' ? '' : ' ') + word;
  }
  if (message !== '') messages.push(message);
  return messages;
}

export function unpack(message: string): Wake[] {
  return message.split(' ').flatMap((word): Wake[] => {
    const [type, first = '', second = ''] = word.split(':');
    switch (type) {
      case 'job':
        return [{ type, accountId: first, jobId: second }];
      case 'account':
        return [{ type, accountId: first }];
      case 'live':
      case 'stop':
      case 'remote':
        return [{ type, jobId: first }];
      case 'deliveries':
      case 'catalogue':
      case 'missed':
        return [{ type }];
      default:
        // A newer version's word: not for us.
        return [];
    }
  });
}

function encode(wake: Wake): string {
  switch (wake.type) {
    case 'job':
      return `job:${wake.accountId}:${wake.jobId}`;
    case 'account':
      return `account:${wake.accountId}`;
    case 'live':
    case 'stop':
    case 'remote':
      return `${wake.type}:${wake.jobId}`;
    case 'deliveries':
    case 'catalogue':
    case 'missed':
      return wake.type;
  }
}

/** The listeners of a process. One that throws does not keep the others from hearing. */
export class Listeners {
  readonly #all = new Set<(wake: Wake) => void>();
  readonly #onError: (error: Error) => void;

  constructor(onError: (error: Error) => void) {
    this.#onError = onError;
  }

  add(listener: (wake: Wake) => void): () => void {
    this.#all.add(listener);
    return () => this.#all.delete(listener);
  }

  tell(message: string): void {
    for (const wake of unpack(message)) this.#hear(wake);
  }

  /**
   * What this process changed of the catalogue or of keys it must not serve once more, so its own listeners hear of it
   * before the change is answered, and not when the wake comes round.
   */
  tellOwn(wakes: readonly Wake[]): void {
    for (const wake of wakes) if (wake.type === 'catalogue') this.#hear(wake);
  }

  #hear(wake: Wake): void {
    for (const listener of this.#all) {
      try {
        listener(wake);
      } catch (error) {
        this.#onError(error as Error);
      }
    }
  }
}
