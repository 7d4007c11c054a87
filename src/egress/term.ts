/** The time that one request has, and who ended it before. */
export class Term {
  readonly signal: AbortSignal;
  readonly #began = performance.now();
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  /** Null: nobody yet. */
  ended: 'timeout' | 'stopped' | null = null;

  constructor(totalMs: number, outer: AbortSignal | undefined) {
    this.signal = this.#controller.signal;
    this.#outer = outer;
    this.#timer = setTimeout(() => this.end('timeout'), totalMs);
    if (outer?.aborted) this.end('stopped');
    else outer?.addEventListener('abort', this.#stop);
  }

  readonly #stop = (): void => this.end('stopped');

  end(how: 'timeout' | 'stopped'): void {
    this.ended ??= how;
    this.#controller.abort();
    this.release();
  }

  /** Whole ms since the call. */
  ms(): number {
    return Math.round(performance.now() - this.#began);
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#stop);
  }
}
