import { Redis } from 'ioredis';
import { type Bus, Listeners, pack, type Wake } from './bus.ts';

const CHANNEL = 'millrace:wake';
/** The ear is silent for hours: without probes it would not notice that the other side is gone. */
const PROBE_MS = 5_000;

/** Wake-ups by Redis publish and subscribe. */
export async function openRedisBus(url: string, onError: (error: Error) => void): Promise<Bus> {
  const listeners = new Listeners(onError);
  const speaker = new Redis(url, { maxRetriesPerRequest: 1, keepAlive: PROBE_MS });
  const ear = new Redis(url, { maxRetriesPerRequest: null, keepAlive: PROBE_MS, autoResubscribe: false });
  speaker.on('error', onError);
  ear.on('error', onError);
  ear.on('message', (_channel, message) => listeners.tell(message));
  await ear.subscribe(CHANNEL);
  // Whoever comes back, to hear or to speak, has missed something or left something unsaid.
  ear.on('ready', () => {
    ear.subscribe(CHANNEL).then(() => listeners.tell('missed'), onError);
  });
  let spoke = false;
  speaker.on('ready', () => {
    if (spoke) publish([{ type: 'missed' }]);
    spoke = true;
  });
  const publish = (wakes: readonly Wake[]): void => {
    listeners.tellOwn(wakes);
    for (const message of pack(wakes)) speaker.publish(CHANNEL, message).catch(onError);
  };
  return {
    publish,
    subscribe: (listener) => listeners.add(listener),
    async close() {
      await speaker.quit().catch(() => {});
      ear.disconnect();
    },
  };
}
