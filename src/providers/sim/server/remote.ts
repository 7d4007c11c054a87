// Work that goes on after its request was answered (`fault: async`): asked for by id until it is done.
import { randomUUID } from 'node:crypto';
import { type Answer, type Produce, SimError } from './answer.ts';

const KEPT_MS = 10 * 60_000;
const MOST = 10_000;

interface Remote {
  key: string | null;
  answer: Produce;
  status: 'processing' | 'succeeded' | 'canceled';
  timer: NodeJS.Timeout;
}

export class Remotes {
  readonly #byId = new Map<string, Remote>();
  readonly #idByKey = new Map<string, string>();

  /** Begins work that takes `latencyMs` and returns its id. `done` is called when it is, unless it was canceled. */
  begin(
    { key, answer, latencyMs }: { key: string | null; answer: Produce; latencyMs: number },
    done: () => void,
  ): string {
    const id = `rem_${randomUUID()}`;
    const timer = setTimeout(() => {
      remote.status = 'succeeded';
      done();
      remote.timer = setTimeout(() => this.#forget(id), KEPT_MS).unref();
    }, latencyMs).unref();
    const remote: Remote = { key, answer, status: 'processing', timer };
    this.#byId.set(id, remote);
    if (key !== null) this.#idByKey.set(key, id);
    if (this.#byId.size > MOST) this.#forget(this.#byId.keys().next().value as string);
    return id;
  }

  /**
   * `{id, status, result?}`, where a result that is not JSON is `{content_type, b64, headers}`; `error` in OpenAI's form where
   * the work could not be done. Null: no such work.
   */
  async show(id: string): Promise<object | null> {
    const remote = this.#byId.get(id);
    if (!remote) return null;
    if (remote.status !== 'succeeded') return { id, status: remote.status };
    try {
      return { id, status: 'succeeded', result: resultOf(await remote.answer(1)) };
    } catch (error) {
      if (!(error instanceof SimError)) throw error;
      return { id, status: 'failed', ...(JSON.parse(error.body()) as object) };
    }
  }

  /** True if the work was still going on, and nothing will be billed. Null: no such work. */
  cancel(id: string): boolean | null {
    const remote = this.#byId.get(id);
    if (!remote) return null;
    if (remote.status !== 'processing') return remote.status === 'canceled';
    clearTimeout(remote.timer);
    remote.status = 'canceled';
    remote.timer = setTimeout(() => this.#forget(id), KEPT_MS).unref();
    return true;
  }

  /** The work of that key, if it is still going on. */
  goingOn(key: string): string | null {
    const id = this.#idByKey.get(key);
    return id !== undefined && this.#byId.get(id)?.status === 'processing' ? id : null;
  }

  cancelByKey(key: string): boolean {
    const id = this.#idByKey.get(key);
    return id !== undefined && this.cancel(id) === true;
  }

  #forget(id: string): void {
    const remote = this.#byId.get(id);
    if (!remote) return;
    clearTimeout(remote.timer);
    this.#byId.delete(id);
    if (remote.key !== null && this.#idByKey.get(remote.key) === id) this.#idByKey.delete(remote.key);
  }
}

function resultOf({ contentType, body, headers = [] }: Answer): object {
  if (contentType === 'application/json') return JSON.parse(body.toString()) as object;
  return { content_type: contentType, b64: Buffer.from(body).toString('base64'), headers };
}
