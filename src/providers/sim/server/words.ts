// What the simulator says: some sentences about a mill, and about what it was asked. A word with its leading space is its token.
import { hash, randomFrom } from '../draw/random.ts';

const OPENINGS = [
  'The miller read your words:',
  'Down by the water someone asked:',
  'The wheel stopped for a moment to hear:',
  'A note was pinned to the mill door:',
];
const SUBJECTS = [
  'The wheel',
  'The stream',
  'The old stone',
  'The miller',
  'A sack of flour',
  'The sluice',
  'A wagtail',
  'The wind',
];
const VERBS = ['turns', 'hums', 'waits', 'rests', 'sings', 'answers', 'moves', 'listens'];
const PLACES = [
  'under the bridge',
  'beside the willows',
  'in the morning light',
  'while the grain runs',
  'without any hurry',
  'until the evening',
];
const ENDINGS = [
  'and all is ground fine.',
  'as it has for a hundred years.',
  'and the answer is yes.',
  'and nothing is lost.',
];

/** Words of a prompt that are quoted back at most. */
const QUOTED = 12;

/** The answer to a prompt, cut in tokens that give it when joined. Some 16 to 50; the same prompt and choice, the same answer. */
export function answerTokens(prompt: string, choice: number): string[] {
  const chance = randomFrom(hash(prompt) + choice);
  const pick = (from: readonly string[]): string => from[Math.floor(chance() * from.length)]!;
  // A prompt may be megabytes long; its beginning is enough to quote.
  const asked = prompt.slice(0, 400).match(/[\p{L}\p{N}'’-]{1,24}/gu) ?? [];
  const sentences = [`${pick(OPENINGS)} “${asked.slice(0, QUOTED).join(' ')}”.`];
  const count = 1 + Math.floor(chance() * 4);
  for (let i = 0; i < count; i++)
    sentences.push(
      `${pick(SUBJECTS)} ${pick(VERBS)} ${pick(PLACES)} ${i === count - 1 ? pick(ENDINGS) : 'still.'}`,
    );
  return sentences
    .join(' ')
    .split(' ')
    .map((word, i) => (i === 0 ? word : ` ${word}`));
}
