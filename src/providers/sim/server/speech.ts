// POST /v1/audio/speech
import { speak } from '../sound/speak.ts';
import { pcmBytes, SAMPLE_RATE, wavFile } from '../../../domain/wav.ts';
import { type Answer, invalid, SimError, type Work } from './answer.ts';

/** Characters (Unicode code points) spoken at most. */
const MOST_CHARACTERS = 20_000;

interface Order {
  text: string;
  characters: number;
  voice: string;
  speed: number;
  raw: boolean;
}

/** @throws SimError 400 */
export function speechWork(body: Record<string, unknown>): Work {
  const { input: text, voice = 'miller', response_format: format = 'wav', speed = 1 } = body;
  if (typeof text !== 'string' || text === '') throw invalid('input must be a text that is not empty.');
  // Counted only where it can matter: a code point is one or two units.
  const characters = text.length > 2 * MOST_CHARACTERS ? Infinity : [...text].length;
  if (characters > MOST_CHARACTERS)
    throw new SimError(400, 'input_too_long', `input must have at most ${MOST_CHARACTERS} characters.`);
  if (typeof voice !== 'string') throw invalid('voice must be a text.');
  if (format !== 'wav' && format !== 'pcm') throw invalid('response_format must be wav or pcm.');
  if (typeof speed !== 'number' || !(speed >= 0.25 && speed <= 4))
    throw invalid('speed must be from 0.25 to 4.');
  const order: Order = { text, characters, voice, speed, raw: format === 'pcm' };
  return {
    kind: 'tts',
    weight: 200 + text.length * 2,
    answer: (usageTimes) => spoken(order, usageTimes),
    events: null,
  };
}

function spoken({ text, characters, voice, speed, raw }: Order, usageTimes: number): Answer {
  const samples = speak(text, { voice, speed });
  return {
    contentType: raw ? `audio/pcm;rate=${SAMPLE_RATE}` : 'audio/wav',
    body: raw ? pcmBytes(samples) : wavFile(samples),
    headers: ['x-usage-characters', String(characters * usageTimes)],
  };
}
