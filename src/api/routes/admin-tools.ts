/** What operators' routes have besides. */
export interface AdminTools {
  /** Of a change to what is sold or to whom: this process reads it again, and the others are told to. */
  changed(): Promise<void>;
  /** Writes down who did what. */
  log(
    actor: string,
    entry: { action: string; target: string; reason?: string; details?: object },
  ): Promise<unknown>;
}

export const adminSchema = (summary: string, rest: object) => ({ tags: ['admin'], summary, ...rest });
