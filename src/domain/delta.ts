/** The fields of a chat delta that hold what the model said, whichever way it said it. */
interface Delta {
  content?: unknown;
  refusal?: unknown;
  reasoning?: unknown;
  reasoning_content?: unknown;
  tool_calls?: { function?: { name?: unknown; arguments?: unknown } }[];
}

/** All that a delta says, as text: what is counted where the vendor gave no usage. `json` is one OpenAI delta. */
export function spokenIn(json: string): string {
  const delta = JSON.parse(json) as Delta;
  const calls = Array.isArray(delta.tool_calls) ? delta.tool_calls : [];
  const said = [delta.content, delta.refusal, delta.reasoning, delta.reasoning_content];
  for (const call of calls) said.push(call?.function?.name, call?.function?.arguments);
  return said.filter((part) => typeof part === 'string').join('');
}

/** The answer's own text: what `output.text` shows of a chat that was stopped. */
export function contentOf(json: string): string {
  const { content } = JSON.parse(json) as Delta;
  return typeof content === 'string' ? content : '';
}
