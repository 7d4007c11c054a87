// Transcriptions by any server that speaks OpenAI's dialect. The audio goes from storage to the socket as it is read.
import type { TranscriptFormat } from '../../domain/model.ts';
import { takesField } from '../../domain/usual-fields.ts';
import { type Ended, evidenceOf } from '../exchange.ts';
import { failed, malformed, NOT_READ, parsed } from '../failure.ts';
import { formOf } from '../form.ts';
import type { CallResult, Route } from '../provider.ts';
import { type Asked, type Link, post, resultOf, secretsOf } from './link.ts';
import { transcriptOf } from './transcript.ts';

const MOST_BYTES = 32 << 20;

export async function transcription(link: Link, asked: Asked): Promise<CallResult> {
  const { route, call } = asked;
  if (!call.artifact) throw new Error('a transcription needs audio');
  const format = formatOf(route);
  const input = JSON.parse(call.input) as Record<string, unknown>;
  const own = ['language', 'prompt'].filter((name) => takesField('stt', route.data, name));
  const fields = [
    ['model', route.upstreamModel],
    ['response_format', format],
    ...own.map((name) => [name, input[name]] as const),
  ] as const;
  const form = formOf(
    fields.filter(([name]) => !route.data.leave_out?.includes(name)),
    { name: 'file', artifact: call.artifact },
  );
  const ended = await post(link, asked, {
    path: '/audio/transcriptions',
    content: form.headers,
    body: form.body,
    maxBytes: MOST_BYTES,
  });
  if (form.lost()) return failed(ended, NOT_READ);
  return resultOf(ended, asked, (whole) => heard(whole, asked, format));
}

/** OpenAI's newer models answer in `json` alone; Whisper, and what is like it, says more when it is asked for more. */
function formatOf({ upstreamModel, data }: Route): TranscriptFormat {
  return (
    data.transcript_format ?? (/(^|\/)gpt-[\w.-]*transcribe/.test(upstreamModel) ? 'json' : 'verbose_json')
  );
}

function heard(ended: Ended, asked: Asked, format: TranscriptFormat): CallResult {
  const { text, contentType } = answerOf(ended);
  const transcript = transcriptOf(text, { format, contentType });
  if (!transcript)
    return malformed(ended, { body: parsed(ended.body), what: 'no transcript', secrets: secretsOf(asked) });
  const { usage, durationMs, ...rest } = transcript;
  const output = {
    kind: 'stt',
    ...rest,
    durationMs: durationMs ?? asked.call.artifact?.durationMs ?? null,
  } as const;
  return { type: 'succeeded', output, usage, evidence: evidenceOf(ended) };
}

const answerOf = ({ head, body }: Ended): { text: string; contentType: string } => ({
  text: body.toString().replace(/^\ufeff/, ''),
  contentType: String(head?.headers['content-type'] ?? '').toLowerCase(),
});
