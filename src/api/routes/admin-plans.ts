// Plans, as accounts are put on them. A few rows, read whole.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { PlanTerms } from '../../domain/plan.ts';
import type { Api } from '../api.ts';
import { nullable } from '../shapes.ts';
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
  retention_days: nullable(
    Type.Integer({ description: 'Artifacts are kept for so many days; null: until they are deleted.' }),
  ),
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

function planView({ id, name, slots, lineLength, caps, maxAudioMs, ...terms }: PlanTerms) {
  const { maxDeadlineS: max_deadline_s, retentionDays: retention_days } = terms;
  const bounds = { max_audio_ms: maxAudioMs, max_deadline_s, retention_days };
  return { id, object: 'plan', name, slots, line_length: lineLength, caps, ...bounds };
}
