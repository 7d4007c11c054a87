import { Redis } from 'ioredis';
import { type Bus, Listeners, pack } from './bus.ts';

const CHANNEL = 'millrace:wake';

/** Wake-ups by Redis publish and subscribe. */
export async function openRedisBus(url: string, onError: (error: Error) => void): Promise<Bus> {
  const listeners = new Listeners(onError);
  const speaker = new Redis(url, { maxRetriesPerRequest: 1 });
  const ear = new Redis(url, { maxRetriesPerRequest: null });
  speaker.on('error', onError);
  ear.on('error', onError);
  ear.on('message', (_channel, message) => listeners.tell(message));
  await ear.subscribe(CHANNEL);
  return {
    publish(wakes) {
      for (const message of pack(wakes)) speaker.publish(CHANNEL, message).catch(onError);
    },
    subscribe: (listener) => listeners.add(listener),
    async close() {
      await speaker.quit().catch(() => {});
      ear.disconnect();
    },
  };
}
