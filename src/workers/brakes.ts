import { type Brake, openBrake, type StopReason } from '../flow/brake.ts';

/** The attempts under way in this process, each with its brake. */
export class Brakes {
  readonly #running = new Map<string, Brake>();

  get size(): number {
    return this.#running.size;
  }

  has(jobId: string): boolean {
    return this.#running.has(jobId);
  }

  open(jobId: string): Brake {
    const brake = openBrake();
    this.#running.set(jobId, brake);
    return brake;
  }

  /** Only if it is still that attempt's: the same job may run here again. */
  close(jobId: string, brake: Brake): void {
    if (this.#running.get(jobId) === brake) this.#running.delete(jobId);
  }

  pull(jobId: string, reason: StopReason): void {
    this.#running.get(jobId)?.pull(reason);
  }

  pullAll(reason: StopReason): void {
    for (const brake of this.#running.values()) brake.pull(reason);
  }
}
