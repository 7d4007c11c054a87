// Which fields of an input an upstream is sent.
import type { Kind } from './job.ts';
import type { RouteData } from './model.ts';

/** What any upstream of the kind may be expected to take; a route's `fields` name more. Of a chat, see flow/known-fields.ts. */
export const USUAL_FIELDS: Record<Exclude<Kind, 'chat'>, readonly string[]> = {
  image: ['prompt', 'n', 'size'],
  tts: ['input', 'voice', 'response_format', 'speed'],
  stt: ['artifact', 'url', 'audio', 'max_seconds', 'language', 'prompt'],
};

/** Whether the upstream takes a field that clients may give. */
export function takesField(
  kind: Exclude<Kind, 'chat'>,
  { unknown_fields: unknown, fields, leave_out: leftOut }: RouteData,
  name: string,
): boolean {
  if (leftOut?.includes(name)) return false;
  return unknown === 'pass' || USUAL_FIELDS[kind].includes(name) || (fields?.includes(name) ?? false);
}
