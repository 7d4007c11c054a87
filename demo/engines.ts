// Who speaks and who hears. Real engines of the command line, where the platform has found both; else the simulator, whose
// tones nobody else understands.

export interface Voices {
  speech: string;
  transcript: string;
  /** The share of words that may be heard wrongly: what the simulator says it hears to the letter. */
  errorsMax: number;
}

const ENGINES: Voices = { speech: 'local/flite', transcript: 'local/pocketsphinx', errorsMax: 0.4 };
export const SIMULATED: Voices = { speech: 'sim/tts', transcript: 'sim/stt', errorsMax: 0 };

/** @param models the ids that the account may name */
export function voicesFor(sentence: string, models: readonly string[]): Voices {
  const found = models.includes(ENGINES.speech) && models.includes(ENGINES.transcript);
  // They know English alone.
  return found && /^[\x20-\x7e]*$/.test(sentence) ? ENGINES : SIMULATED;
}

/** Word error rate: insertions, deletions and substitutions, over the words that were said. */
export function wordErrors(said: string, heard: string): number {
  const [right, given] = [words(said), words(heard)];
  let row = given.map((_, i) => i + 1);
  for (const [i, word] of right.entries()) {
    let [diagonal, left] = [i, i + 1];
    row = row.map((above, j) => {
      const best = Math.min(above + 1, left + 1, diagonal + (given[j] === word ? 0 : 1));
      [diagonal, left] = [above, best];
      return best;
    });
  }
  return right.length === 0 ? 0 : (row.at(-1) ?? right.length) / right.length;
}

const words = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
