// Lists (contract 3): one shape, one way to turn the page.
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { JSON_TYPE } from './headers.ts';

export const PageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
  after: Type.Optional(Type.String({ description: 'The last id seen.' })),
  before: Type.Optional(Type.String()),
  order: Type.Optional(Type.Enum(['asc', 'desc'])),
};

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
