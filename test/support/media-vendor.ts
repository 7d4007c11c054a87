// A vendor of OpenAI's dialect for every kind, of chat just a word: as strict about what it is sent as OpenAI's own API
// description, and as bad as it is told to be. It keeps what it received.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pngFile } from '../../src/providers/sim/draw/png.ts';
import { wavFile } from '../../src/domain/wav.ts';
import { type FilePart, readForm } from './form.ts';

export interface Received {
  path: string;
  headers: IncomingMessage['headers'];
  /** JSON members, or the texts of a form. */
  fields: Record<string, unknown>;
  files: FilePart[];
}

export interface Said {
  status?: number;
  type?: string;
  headers?: Record<string, string>;
  body: Buffer | string | object;
  /** `head`: destroyed before anything is said. `body`: destroyed when this many bytes of the body were sent. `hang`: then silent. */
  cut?: 'head' | number;
  hang?: boolean;
}

export interface MediaVendor {
  /** Root of its API. */
  url: string;
  received: Received[];
  /** What it says to the next request, instead of doing its work; more are said in turn. */
  says(...answers: Said[]): void;
  close(): Promise<void>;
}

export const VENDOR_KEY = 'sk-media-0123456789abcdef';

export async function startMediaVendor(): Promise<MediaVendor> {
  const received: Received[] = [];
  const planned: Said[] = [];
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const one = read(request, Buffer.concat(chunks));
    received.push(one);
    say(response, planned.shift() ?? (await work(one)));
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    received,
    says: (...answers) => void planned.push(...answers),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function read({ url = '', headers }: IncomingMessage, body: Buffer): Received {
  const type = String(headers['content-type']);
  const path = url.replace(/^\/v1/, '');
  if (type === 'application/json')
    return { path, headers, fields: JSON.parse(body.toString()) as Record<string, unknown>, files: [] };
  if (Number(headers['content-length']) !== body.length)
    throw new Error('the length is not that of the body');
  return { path, headers, ...readForm(body, type) };
}

function say(
  response: ServerResponse,
  { status = 200, type = 'application/json', headers = {}, ...said }: Said,
) {
  if (said.cut === 'head') return void response.destroy();
  const body =
    Buffer.isBuffer(said.body) || typeof said.body === 'string' ? Buffer.from(said.body) : json(said.body);
  response.writeHead(status, { 'content-type': type, 'content-length': body.length, ...headers });
  if (said.cut !== undefined)
    return void response.write(body.subarray(0, said.cut), () => response.destroy());
  if (said.hang) return void response.write(body.subarray(0, body.length >> 1));
  response.end(body);
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

export const refusal = (status: number, code: string, message = 'It is refused.'): Said => ({
  status,
  body: { error: { message, type: 'invalid_request_error', param: null, code } },
});

const KNOWN: Record<string, readonly string[]> = {
  '/images/generations': ['model', 'prompt', 'n', 'size', 'quality', 'response_format'],
  '/images/edits': ['model', 'prompt', 'n', 'size', 'quality', 'response_format'],
  '/audio/speech': ['model', 'input', 'voice', 'response_format', 'speed', 'instructions', 'stream_format'],
  '/audio/transcriptions': ['model', 'language', 'prompt', 'response_format'],
};

/** In two words, whatever is asked. */
const chat = (): Said => {
  const choices = [{ index: 0, delta: { role: 'assistant', content: 'Good day' }, finish_reason: 'stop' }];
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
  const chunk = { id: 'c1', object: 'chat.completion.chunk', choices, usage };
  return { type: 'text/event-stream', body: `data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n` };
};

async function work(one: Received): Promise<Said> {
  const { path, headers, fields, files } = one;
  if (headers.authorization !== `Bearer ${VENDOR_KEY}`) return refusal(401, 'invalid_api_key');
  if (path === '/chat/completions') return chat();
  const known = KNOWN[path];
  if (!known) return refusal(404, 'unknown_url');
  const stray = Object.keys(fields).find((name) => !known.includes(name));
  if (stray !== undefined) return refusal(400, 'unknown_parameter', `Unknown parameter: '${stray}'.`);
  if (typeof fields.model !== 'string') return refusal(400, 'missing_required_parameter');
  switch (path) {
    case '/audio/speech':
      return speech(fields);
    case '/audio/transcriptions':
      return transcription(fields, files);
    default:
      return images(one);
  }
}

async function images({ path, fields, files }: Received): Promise<Said> {
  const { model, n = 1, size = '1024x1024', response_format: form } = fields;
  const newer = String(model).startsWith('gpt-image');
  if (newer && form !== undefined)
    return refusal(400, 'unknown_parameter', "Unknown parameter: 'response_format'.");
  if (
    path === '/images/edits' &&
    (files.length !== 1 || files[0]?.field !== 'image' || !files[0].name.includes('.'))
  )
    return refusal(400, 'invalid_image_file');
  const [width = 0, height = 0] = String(size).split('x').map(Number);
  const png = await pngFile({ width, height, rgb: Buffer.alloc(width * height * 3, 90) });
  const item =
    newer || form === 'b64_json'
      ? { b64_json: png.toString('base64'), ...(!newer && { revised_prompt: 'a fine mill' }) }
      : { url: 'https://files.vendor.invalid/image.png' };
  const usage = { total_tokens: 330, input_tokens: 50, output_tokens: 280 * Number(n) };
  const details = { input_tokens_details: { text_tokens: 10, image_tokens: 40 } };
  const data = Array.from({ length: Number(n) }, () => item);
  return { body: { created: 1, data, ...(newer && { usage: { ...usage, ...details } }) } };
}

/** A tone of 0.05 s a character. */
function speech({
  input,
  voice,
  response_format: form = 'mp3',
  stream_format: stream,
}: Record<string, unknown>): Said {
  if (typeof voice !== 'string') return refusal(400, 'missing_required_parameter', "Missing 'voice'.");
  if (typeof input !== 'string') return refusal(400, 'missing_required_parameter', "Missing 'input'.");
  const samples = Int16Array.from({ length: 800 * input.length }, (_, i) => 9_000 * Math.sin(i / 9));
  const wav = wavFile(samples);
  const [type, sound] =
    form === 'wav'
      ? ['audio/wav', wav]
      : form === 'pcm'
        ? ['audio/pcm', wav.subarray(44)]
        : ['audio/mpeg', mp3(50)];
  if (stream !== 'sse') return { type, body: sound };
  const half = sound.length >> 1;
  const events = [
    ...[sound.subarray(0, half), sound.subarray(half)].map((part) => ({
      type: 'speech.audio.delta',
      audio: part.toString('base64'),
    })),
    { type: 'speech.audio.done', usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } },
  ];
  return {
    type: 'text/event-stream',
    body: events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''),
  };
}

/** Frames of silence, 1152 samples each at 44.1 kHz: 26.12 ms. */
export function mp3(frames: number): Buffer {
  const frame = Buffer.alloc(417);
  frame.set([0xff, 0xfb, 0x90, 0x00]);
  return Buffer.concat(Array.from({ length: frames }, () => frame));
}

const TEXT = 'The wheel turns. The miller sleeps.';
const SRT = `1\n00:00:00,000 --> 00:00:01,250\nThe wheel turns.\n\n2\n00:00:01,250 --> 00:00:02,500\nThe miller sleeps.\n`;

/** `duration` of a WAV in seconds, as its length says it. */
function transcription(
  { model, response_format: form = 'json' }: Record<string, unknown>,
  files: FilePart[],
): Said {
  const [file] = files;
  if (files.length !== 1 || file?.field !== 'file') return refusal(400, 'missing_required_parameter');
  if (!/\.(flac|mp3|mp4|m4a|ogg|wav|webm)$/.test(file.name)) return refusal(400, 'unsupported_format');
  const newer = String(model).startsWith('gpt-');
  if (newer && form !== 'json') return refusal(400, 'unsupported_value');
  const seconds = (file.bytes.length - 44) / 32_000;
  const tokens = { type: 'tokens', input_tokens: 14, output_tokens: 45, total_tokens: 59 };
  switch (form) {
    case 'json':
      return {
        body: { text: TEXT, usage: newer ? tokens : { type: 'duration', seconds: Math.ceil(seconds) } },
      };
    case 'text':
      return { type: 'text/plain; charset=utf-8', body: `${TEXT}\n` };
    case 'srt':
      return { type: 'text/plain', body: SRT };
    case 'vtt':
      return { type: 'text/vtt', body: `WEBVTT\n\n${SRT.replaceAll(',', '.')}` };
    case 'verbose_json':
      return { body: verbose(seconds) };
    default:
      return refusal(400, 'unsupported_value');
  }
}

const verbose = (seconds: number): object => ({
  task: 'transcribe',
  language: 'english',
  duration: seconds,
  text: TEXT,
  segments: [
    { id: 0, start: 0, end: 1.25, text: ' The wheel turns.', tokens: [1] },
    { id: 1, start: 1.25, end: 2.5, text: ' The miller sleeps.', tokens: [2] },
  ],
});
