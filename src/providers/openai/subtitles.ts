// SubRip and WebVTT: cues of a time and a text, with an empty line between them.

export interface Segment {
  start_ms: number;
  end_ms: number;
  text: string;
}

const TIMES =
  /^(?:(\d{1,3}):)?([0-5]\d):([0-5]\d)[.,](\d{3})[ \t]+-->[ \t]+(?:(\d{1,3}):)?([0-5]\d):([0-5]\d)[.,](\d{3})(?:[ \t].*)?$/;

/** In the order of the text; null where it is not of that form. Nothing heard is no cue, and no fault. */
export function cuesOf(text: string, format: 'srt' | 'vtt'): Segment[] | null {
  const blocks = text
    .replace(/\r\n?/g, '\n')
    .split(/\n[ \t]*\n/)
    // Not by an expression, which would look at each blank of a long row as a beginning of the end.
    .map((block) => block.replace(/^\n+/, '').trimEnd())
    .filter((block) => block !== '');
  const vtt = /^WEBVTT(?:[ \t\n]|$)/.test(blocks[0] ?? '');
  // A server may answer the one where it was asked for the other.
  if (format === 'vtt' && !vtt && blocks.length > 0 && !blocks[0]!.includes('-->')) return null;
  if (format === 'vtt' && blocks.length === 0) return null;
  const cues = (vtt ? blocks.slice(1).filter((block) => !/^(NOTE|STYLE|REGION)\b/.test(block)) : blocks).map(
    cueOf,
  );
  return cues.every((cue) => cue !== null) ? cues : null;
}

/** A number or a name may stand above the times. */
function cueOf(block: string): Segment | null {
  const lines = block.split('\n');
  const at = lines.findIndex((line) => line.includes('-->'));
  const times = at === 0 || at === 1 ? TIMES.exec((lines[at] as string).trim()) : null;
  if (!times) return null;
  const [, h1, m1, s1, ms1, h2, m2, s2, ms2] = times;
  return {
    start_ms: toMs([h1, m1, s1, ms1]),
    end_ms: toMs([h2, m2, s2, ms2]),
    text: lines
      .slice(at + 1)
      .map((line) => plain(line).trim())
      .filter((line) => line !== '')
      .join(' '),
  };
}

const toMs = ([h = '0', m, s, ms]: (string | undefined)[]): number =>
  ((Number(h) * 60 + Number(m)) * 60 + Number(s)) * 1000 + Number(ms);

const ENTITIES: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&nbsp;': ' ' };

/** Without the marks of voices and styles. */
const plain = (line: string): string =>
  line
    .replace(/<\/?(?:[bicu]|v|ruby|rt|lang|font|\d[\d:.]*)(?:[ .][^<>]*)?>/g, '')
    .replace(/&(?:amp|lt|gt|nbsp);/g, (entity) => ENTITIES[entity] ?? entity);
