import { type Brake, openBrake, type StopReason } from '../flow/brake.ts';

interface Running {
  accountId: string;
  brake: Brake;
}

/** The attempts under way in this process, each with its brake. */
export class Brakes {
  readonly #running = new Map<string, Running>();

  get size(): number {
    return this.#running.size;
  }

  jobs(): { accountId: string; jobId: string }[] {
    return [...this.#running].map(([jobId, { accountId }]) => ({ accountId, jobId }));
  }

  open({ accountId, jobId }: { accountId: string; jobId: string }): Brake {
    const brake = openBrake();
    this.#running.set(jobId, { accountId, brake });
    return brake;
  }

  /** Only if it is still that attempt's: the same job may run here again. */
  close(jobId: string, brake: Brake): void {
    if (this.#running.get(jobId)?.brake === brake) this.#running.delete(jobId);
  }

  pull(jobId: string, reason: StopReason): void {
    this.#running.get(jobId)?.brake.pull(reason);
  }

  pullAll(reason: StopReason): void {
    for (const { brake } of this.#running.values()) brake.pull(reason);
  }
}
