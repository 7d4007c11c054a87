// Whisper names the language it heard in English; the platform's word is the code.

const names = new Intl.DisplayNames('en', { type: 'language', fallback: 'none' });
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];
let codes: Map<string, string> | null = null;

/** `english` becomes `en`; what is no name of a language that has a code of two letters stays as it is. */
export function codeOf(language: string): string {
  codes ??= new Map(
    LETTERS.flatMap((first) => LETTERS.map((second) => first + second)).flatMap((code) => {
      const name = names.of(code)?.toLowerCase();
      // An outdated code has the name of the one that replaced it.
      return name === undefined || new Intl.Locale(code).language !== code ? [] : [[name, code] as const];
    }),
  );
  return codes.get(language.toLowerCase()) ?? language;
}
