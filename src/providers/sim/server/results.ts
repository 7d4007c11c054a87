// Results that can still be asked for by the name of their attempt, since their answers may have been lost.
import type { Answer, Produce, Work } from './answer.ts';

const KEPT_MS = 10 * 60_000;
const MOST = 50_000;
/** Bytes, by the work's own word. */
const MOST_WEIGHT = 64 << 20;

/** What is kept is not an answer but what makes it again. */
export class Results {
  readonly #kept = new Map<string, { answer: Produce; weight: number; until: number }>();
  #weight = 0;

  put(key: string, { answer, weight }: Work): void {
    const now = performance.now();
    this.#drop(key);
    this.#kept.set(key, { answer, weight, until: now + KEPT_MS });
    this.#weight += weight;
    for (const [oldest, { until }] of this.#kept) {
      if (until > now && this.#kept.size <= MOST && this.#weight <= MOST_WEIGHT) break;
      this.#drop(oldest);
    }
  }

  /** Null: unknown, unfinished, or forgotten by now. */
  get(key: string): Answer | Promise<Answer> | null {
    const found = this.#kept.get(key);
    return found && found.until > performance.now() ? found.answer(1) : null;
  }

  #drop(key: string): void {
    const found = this.#kept.get(key);
    if (!found) return;
    this.#weight -= found.weight;
    this.#kept.delete(key);
  }
}
