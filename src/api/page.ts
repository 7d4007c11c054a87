// Lists (contract 3): one shape, one way to turn the page.
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { JSON_TYPE } from './headers.ts';

/** @param id what a cursor is made of: ids of that kind, or sequence numbers */
export function pageQuery(id: 'job' | 'art' | 'sequence') {
  const pattern = id === 'sequence' ? '^[0-9]{1,18}$' : `^${id}_[0-9a-hjkmnp-tv-z]{26}$`;
  const what = id === 'sequence' ? 'sequence' : 'id';
  return {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    after: Type.Optional(Type.String({ pattern, description: `The last ${what} seen.` })),
    before: Type.Optional(
      Type.String({ pattern, description: `The ${what} to stop before, in the page's order.` }),
    ),
    order: Type.Optional(Type.Enum(['asc', 'desc'])),
  };
}

/** @param items JSON texts */
export function sendPage(
  reply: FastifyReply,
  page: { items: string[]; hasMore: boolean; last: string | null },
): FastifyReply {
  const next = page.hasMore ? JSON.stringify(page.last) : 'null';
  return reply
    .type(JSON_TYPE)
    .send(
      `{"object":"list","data":[${page.items.join(',')}],"has_more":${page.hasMore},"next_after":${next}}`,
    );
}
