// Which fields of an input a route takes: one that is not known to be free might cost what nobody holds.
import { AppError, fieldName, invalidRequest } from '../domain/errors.ts';
import type { Kind } from '../domain/job.ts';
import { members } from '../domain/json-members.ts';
import type { Model, ModelRoute } from '../domain/model.ts';
import type { ChatInput, Submission } from '../domain/submission.ts';
import { takesField } from '../domain/usual-fields.ts';

/** Fields of a chat body whose price is known: they cost tokens, or nothing. */
export const CHAT_FIELDS: ReadonlySet<string> = new Set(
  `messages max_tokens max_completion_tokens n stream stream_options temperature top_p stop presence_penalty frequency_penalty
  logit_bias logprobs top_logprobs seed tools tool_choice parallel_tool_calls response_format user reasoning_effort verbosity
  safety_identifier prompt_cache_key`.split(/\s+/),
);

/** @throws AppError invalid_request, input_unsupported */
export function assertKnownFields(
  model: Model,
  route: ModelRoute,
  { input, inputJson }: { input: Submission['input']; inputJson: string },
): void {
  if (model.kind !== 'chat') return assertTaken(model, route, { kind: model.kind, input });
  if (route.data.unknown_fields === 'pass') return;
  const allowed = route.data.fields ?? [];
  const stranger = members(inputJson).find(({ name }) => !CHAT_FIELDS.has(name) && !allowed.includes(name));
  if (stranger) throw unknownField(`input.${fieldName(stranger.name)}`);
  const { tools } = input as ChatInput & { tools?: unknown };
  const billed = Array.isArray(tools)
    ? tools.find((tool: { type?: unknown } | null) => tool?.type !== 'function')
    : undefined;
  if (billed !== undefined) throw unknownField('input.tools');
}

function assertTaken(
  model: Model,
  { provider, data }: ModelRoute,
  { kind, input }: { kind: Exclude<Kind, 'chat'>; input: Submission['input'] },
): void {
  if ('sim' in input && provider !== 'sim') throw unknownField('input.sim');
  if (
    kind === 'image' &&
    'artifact' in input &&
    (provider !== 'openai' || !data.fields?.includes('artifact'))
  ) {
    throw new AppError('input_unsupported', {
      message: `${model.id} cannot edit images. Leave out input.artifact.`,
      details: { field: 'input.artifact' },
    });
  }
  // Of the others' models each takes every field of its kind, or knows what to leave.
  if (provider !== 'openai') return;
  // Only the schema's own fields are there. Those that are let in and then left out are the operator's decision.
  const stranger = Object.keys(input).find(
    (name) => !takesField(kind, data, name) && !data.leave_out?.includes(name),
  );
  if (stranger === undefined) return;
  const message = `is not a field that ${model.id} takes`;
  throw invalidRequest({
    path: `input.${stranger}`,
    message,
    expected: 'no such field',
    received: 'a value',
  });
}

function unknownField(path: string): AppError {
  const message = 'is not a field this model is priced for';
  return invalidRequest({ path, message, expected: 'no such field', received: 'a value' });
}
