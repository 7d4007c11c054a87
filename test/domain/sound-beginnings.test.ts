import { describe, expect, it } from 'vitest';
import { beginsLikeSound } from '../../src/domain/sound.ts';

describe('the beginning of a file', () => {
  it.each([
    ['WAV', 'RIFF\x24\x08\x00\x00WAVEfmt '],
    ['WAV with a line break in its length', 'RIFF\n\n\x00\x00WAVEfmt '],
    ['AIFF', 'FORM\x00\x00\x00\x00AIFF'],
    ['MP3 with a tag', 'ID3\x04\x00'],
    ['MP3 without', '\xff\xfb\x90\x00'],
    ['AAC', '\xff\xf1\x50\x80'],
    ['Ogg', 'OggS\x00\x02'],
    ['FLAC', 'fLaC\x00\x00'],
    ['M4A', '\x00\x00\x00\x20ftypM4A '],
    ['WebM', '\x1a\x45\xdf\xa3\x01'],
    ['AMR', '#!AMR\n'],
  ])('of %s is one of audio', (_, head) => expect(beginsLikeSound(Buffer.from(head, 'latin1'))).toBe(true));

  it.each([
    ['nothing', ''],
    ['a page', '<!doctype html>'],
    ['JSON', '{"audio":1}'],
    ['PNG', '\x89PNG\r\n\x1a\n'],
    ['JPEG', '\xff\xd8\xff\xe0\x00\x10JFIF'],
    ['text in UTF-16', '\xff\xfeh\x00i\x00'],
    ['RIFF of something else', 'RIFF\x24\x08\x00\x00AVI LIST'],
    ['gzip', '\x1f\x8b\x08\x00'],
    ['HEIC', '\x00\x00\x00\x18ftypheic\x00\x00'],
    ['AVIF', '\x00\x00\x00\x20ftypavif\x00\x00'],
    ['set bits alone', '\xff\xff\xff\xff'],
  ])('of %s is not', (_, head) => expect(beginsLikeSound(Buffer.from(head, 'latin1'))).toBe(false));
});
