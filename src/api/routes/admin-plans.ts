// Plans, as accounts are put on them. A few rows, read whole.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { PlanTerms } from '../../domain/plan.ts';
import type { Api } from '../api.ts';
import { adminSchema } from './admin-tools.ts';

const Plan = Type.Object({
  id: Type.String(),
  object: Type.Literal('plan'),
  name: Type.String(),
  slots: Type.Integer({ description: 'Jobs of an account that may run at once.' }),
  line_length: Type.Integer({ description: 'Jobs that may wait besides.' }),
  caps: Type.Array(
    Type.Object({
      cap: Type.String(),
      max: Type.Union([Type.Integer(), Type.String()]),
      tag: Type.Optional(Type.String({ description: 'It holds for models with this tag alone.' })),
    }),
    { description: 'What one request may ask for at most.' },
  ),
  max_audio_ms: Type.Integer(),
  max_deadline_s: Type.Integer(),
});

export function adminPlanRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.get(
    '/v1/admin/plans',
    {
      schema: adminSchema('List plans', {
        response: { 200: Type.Object({ object: Type.Literal('list'), data: Type.Array(Plan) }) },
      }),
    },
    async () => ({ object: 'list', data: [...ctx.catalogue().plans.values()].map(planView) }),
  );
}

function planView({ id, name, slots, lineLength, caps, maxAudioMs, maxDeadlineS }: PlanTerms) {
  const bounds = { max_audio_ms: maxAudioMs, max_deadline_s: maxDeadlineS };
  return { id, object: 'plan', name, slots, line_length: lineLength, caps, ...bounds };
}
