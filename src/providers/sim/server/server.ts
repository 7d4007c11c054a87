// The simulator's HTTP server: the vendors' routes, and the control routes that tests and operators use.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Kind } from '../../../domain/job.ts';
import { objectOf, SimError, type Work } from './answer.ts';
import { type Behaviour, behaviourOf } from './behaviour.ts';
import { readBody } from './body.ts';
import { chatWork } from './chat.ts';
import { control } from './control.ts';
import { imageWork } from './image.ts';
import { formOf } from './multipart.ts';
import { perform, refuse } from './perform.ts';
import { Simulator } from './simulator.ts';
import { speechWork } from './speech.ts';
import { transcriptionWork } from './transcription.ts';

const KINDS_BY_PATH = new Map<string, Kind>([
  ['/v1/chat/completions', 'chat'],
  ['/v1/images/generations', 'image'],
  ['/v1/audio/speech', 'tts'],
  ['/v1/audio/transcriptions', 'stt'],
]);
/** OpenAI takes as much; a chat with images in it fits too. */
const MOST_BYTES = 26 << 20;
/** Longer than a client keeps an idle connection, so that it is always the client who lets go of one. */
const KEEP_ALIVE_MS = 75_000;

/** Not listening yet. Closing it closes every connection at once with `closeAllConnections`. */
export function simServer(): Server {
  const sim = new Simulator();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
    const kind = request.method === 'POST' ? KINDS_BY_PATH.get(request.url as string) : undefined;
    if (kind) generate(sim, kind, { request, response });
    else control(sim, request, response);
  });
  return server.on('connection', (socket) => sim.watch(socket));
}

let requests = 0;

function generate(
  sim: Simulator,
  kind: Kind,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
): void {
  const id = `sim${(++requests).toString(36)}`;
  const live = sim.begin({ kind, id }, request, response);
  readBody(request, MOST_BYTES, (body) => {
    if (live.call.endedAt !== null) return;
    try {
      if (body === null)
        throw new SimError(413, 'body_too_large', `The body has more than ${MOST_BYTES} bytes.`);
      perform(sim, live, understood(kind, body, { id, contentType: request.headers['content-type'] }));
    } catch (error) {
      refuse(sim, live, error);
    }
  });
}

interface Request {
  id: string;
  contentType: string | undefined;
}

function understood(
  kind: Kind,
  body: Buffer,
  { id, contentType }: Request,
): { work: Work; behaviour: Behaviour } {
  if (kind === 'stt') {
    const form = formOf(body, contentType);
    const asked = form.fields.get('sim');
    const behaviour = behaviourOf(asked === undefined ? null : objectOf(Buffer.from(asked)));
    return { work: transcriptionWork(form), behaviour };
  }
  const json = objectOf(body);
  const behaviour = behaviourOf(json.sim);
  if (kind === 'chat') return { work: chatWork(json, { id, latencyMs: behaviour.latencyMs }), behaviour };
  return { work: kind === 'image' ? imageWork(json) : speechWork(json), behaviour };
}
