// Lists (contract 3): one shape, one way to turn the page.
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { MODEL_ID } from '../domain/model.ts';
import type { Turn } from '../domain/page.ts';
import { JSON_TYPE } from './headers.ts';

/** What cursors are made of. */
export const CURSORS = {
  acc: '^acc_[0-9a-hjkmnp-tv-z]{26}$',
  job: '^job_[0-9a-hjkmnp-tv-z]{26}$',
  art: '^art_[0-9a-hjkmnp-tv-z]{26}$',
  whe: '^whe_[0-9a-hjkmnp-tv-z]{26}$',
  dlv: '^dlv_[0-9a-hjkmnp-tv-z]{26}$',
  sequence: '^[0-9]{1,18}$',
  model: MODEL_ID,
};

/** Where a list of jobs may stand, or the word `all` for those of the account. */
export const JOBS_OR_ALL = '^all$';
/** Where to begin, beside the number of an event. */
export const NOW_OR_START = '^(now|start)$';

/** @param cursor the kind of ids, or sequence numbers */
export function pageQuery(cursor: keyof typeof CURSORS) {
  const pattern = CURSORS[cursor];
  const what = cursor === 'sequence' ? 'sequence' : 'id';
  return {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    after: Type.Optional(
      Type.String({ pattern, description: `The last ${what} seen: the page that begins just after it.` }),
    ),
    before: Type.Optional(
      Type.String({
        pattern,
        description:
          `The first ${what} seen: the page that ends just before it, in the list's order; \`has_more\` then says whether ` +
          'there is more before that page. Beside `after`: where to stop.',
      }),
    ),
    order: Type.Optional(Type.Enum(['asc', 'desc'])),
  };
}

/** What comes through `pageQuery`. */
export interface PageQuery {
  limit: number;
  after?: string;
  before?: string;
  order?: 'asc' | 'desc';
}

/** @param own the list's order where none is asked for */
export function turnOf({ limit, after, before, order }: PageQuery, own: 'asc' | 'desc'): Turn<string> {
  return { after: after ?? null, before: before ?? null, ascending: (order ?? own) === 'asc', limit };
}

/** @param page `items` are JSON texts, `next` is what to give as `after` for the page that follows */
export function sendPage(
  reply: FastifyReply,
  page: { items: string[]; hasMore: boolean; next: string | null },
): FastifyReply {
  const next = JSON.stringify(page.next);
  return reply
    .type(JSON_TYPE)
    .send(
      `{"object":"list","data":[${page.items.join(',')}],"has_more":${page.hasMore},"next_after":${next}}`,
    );
}
