// A view over hills to a windmill, under a sky of its own. Prompt and seed decide the hour, the hills, the weather and the mill.
import type { Picture } from './png.ts';
import { hash, randomFrom } from './random.ts';

type Colour = readonly [red: number, green: number, blue: number];
type Chance = () => number;

interface Hour {
  top: Colour;
  horizon: Colour;
  light: Colour;
  ground: Colour;
  stars: boolean;
}

const HOURS: readonly Hour[] = [
  {
    top: [52, 73, 130],
    horizon: [250, 190, 140],
    light: [255, 236, 190],
    ground: [38, 44, 58],
    stars: false,
  },
  {
    top: [70, 140, 210],
    horizon: [214, 234, 246],
    light: [255, 252, 228],
    ground: [40, 84, 52],
    stars: false,
  },
  { top: [62, 44, 100], horizon: [246, 120, 80], light: [255, 206, 120], ground: [44, 28, 46], stars: false },
  { top: [8, 12, 34], horizon: [46, 64, 110], light: [232, 236, 246], ground: [10, 16, 28], stars: true },
  {
    top: [96, 112, 128],
    horizon: [220, 222, 214],
    light: [244, 244, 236],
    ground: [52, 66, 60],
    stars: false,
  },
];
/** Words of a prompt that ask for an hour, in the order of HOURS. */
const HOUR_WORDS = [
  /dawn|sunrise|morning/i,
  /noon|day|summer/i,
  /dusk|sunset|evening/i,
  /night|moon|star/i,
  /fog|mist|rain/i,
];

const HILLS = 5;

/** The same prompt, seed and size always give the same picture. */
export function landscape({
  prompt,
  seed,
  width,
  height,
}: {
  prompt: string;
  seed: number;
  width: number;
  height: number;
}): Picture {
  const chance = randomFrom(hash(`${seed} ${prompt}`));
  const asked = HOUR_WORDS.findIndex((word) => word.test(prompt));
  const drawn = Math.floor(chance() * HOURS.length);
  const hour = HOURS[asked >= 0 ? asked : drawn]!;
  const canvas: Canvas = {
    width,
    height,
    rgb: Buffer.allocUnsafe(width * height * 3),
    unit: Math.min(width, height),
  };
  sky(canvas, hour);
  if (hour.stars) stars(canvas, hour, chance);
  sun(canvas, hour, chance);
  hills(canvas, hour, chance);
  return canvas;
}

interface Canvas extends Picture {
  /** What lengths are measured by, so that small pictures look like large ones. */
  unit: number;
}

const mix = (a: Colour, b: Colour, share: number): Colour => [
  a[0] + (b[0] - a[0]) * share,
  a[1] + (b[1] - a[1]) * share,
  a[2] + (b[2] - a[2]) * share,
];

function sky({ width, height, rgb }: Canvas, { top, horizon }: Hour): void {
  for (let y = 0; y < height; y++) {
    const share = Math.min(1, y / (height * 0.72));
    const [red, green, blue] = mix(top, horizon, share * share * (3 - 2 * share));
    let at = y * width * 3;
    for (let x = 0; x < width; x++) {
      rgb[at++] = red;
      rgb[at++] = green;
      rgb[at++] = blue;
    }
  }
}

/** Lays `colour` over one pixel; `share` 1 hides what was there. Outside of the picture nothing happens. */
function blend(
  { width, height, rgb }: Canvas,
  { x, y, share }: { x: number; y: number; share: number },
  colour: Colour,
): void {
  if (x < 0 || y < 0 || x >= width || y >= height || share <= 0) return;
  const at = (y * width + x) * 3;
  const part = Math.min(1, share);
  for (let i = 0; i < 3; i++) rgb[at + i] = rgb[at + i]! + (colour[i]! - rgb[at + i]!) * part;
}

function stars(canvas: Canvas, { light }: Hour, chance: Chance): void {
  for (let i = 0; i < 160; i++) {
    const x = Math.floor(chance() * canvas.width);
    const y = Math.floor(chance() ** 1.5 * canvas.height * 0.7);
    blend(canvas, { x, y, share: 0.3 + 0.7 * chance() }, light);
  }
}

/** A disc with a soft edge, and around it a glow that fades out over four radii. */
function sun(canvas: Canvas, { light }: Hour, chance: Chance): void {
  const radius = canvas.unit * (0.05 + 0.03 * chance());
  const centreX = canvas.width * (0.15 + 0.7 * chance());
  const centreY = canvas.height * (0.18 + 0.3 * chance());
  const reach = radius * 4;
  for (let y = Math.floor(centreY - reach); y <= centreY + reach; y++) {
    for (let x = Math.floor(centreX - reach); x <= centreX + reach; x++) {
      const distance = Math.hypot(x - centreX, y - centreY);
      const glow = Math.max(0, 1 - distance / reach);
      blend(canvas, { x, y, share: Math.max(radius - distance + 0.5, 0.45 * glow * glow) }, light);
    }
  }
}

/** From the far ones, pale as the horizon, to the near ones; the mill stands on the last but one. */
function hills(canvas: Canvas, { horizon, ground, light }: Hour, chance: Chance): void {
  const { width, height, rgb } = canvas;
  for (let i = 0; i < HILLS; i++) {
    const depth = (i + 1) / HILLS;
    const colour = mix(horizon, ground, depth ** 0.8);
    const base = height * (0.5 + 0.42 * depth ** 1.3);
    const edge = ridge({ width, base, sway: canvas.unit * (0.05 + 0.05 * depth) }, chance);
    for (let y = 0; y < height; y++) {
      // A little darker downwards, so that a slope is no flat card.
      const [red, green, blue] = mix(colour, ground, Math.max(0, (y - base) / height));
      for (let x = 0, at = y * width * 3; x < width; x++, at += 3) {
        if (y < edge[x]!) continue;
        rgb[at] = red;
        rgb[at + 1] = green;
        rgb[at + 2] = blue;
      }
    }
    if (i === HILLS - 2) {
      const x = Math.floor(width * (0.2 + 0.6 * chance()));
      mill(canvas, { x, edge, turn: chance() * Math.PI, window: light, wall: mix(ground, [0, 0, 0], 0.45) });
    }
  }
}

/** The height of a hill's edge at every column: waves, each half as long and half as high as the one before. */
function ridge(
  { width, base, sway }: { width: number; base: number; sway: number },
  chance: Chance,
): Float64Array {
  const waves = [1, 2, 4, 8, 16].map((times) => ({
    step: (times * (0.8 + 0.5 * chance()) * Math.PI * 1.6) / width,
    phase: chance() * Math.PI * 2,
    height: sway / times,
  }));
  return Float64Array.from({ length: width }, (_, x) =>
    waves.reduce((y, { step, phase, height }) => y + Math.sin(x * step + phase) * height, base),
  );
}

interface Mill {
  x: number;
  /** Of the hill it stands on, by column: what is below stays hidden. */
  edge: Float64Array;
  /** Where the sails stand. */
  turn: number;
  window: Colour;
  wall: Colour;
}

function mill(canvas: Canvas, { x, edge, turn, window, wall }: Mill): void {
  const tall = canvas.unit * 0.2;
  const top = edge[x]! - tall;
  for (let y = Math.floor(top - tall * 0.12); y < canvas.height; y++) {
    const down = (y - top) / tall;
    // Below the cap the tower widens towards its foot.
    const half = down < 0 ? tall * (0.17 + down * 1.2) : tall * (0.15 + 0.1 * down);
    for (let i = Math.floor(x - half); i <= x + half; i++) {
      if (y < (edge[i] ?? 0)) blend(canvas, { x: i, y, share: half - Math.abs(i - x) + 0.5 }, wall);
    }
  }
  const pane = tall * 0.035;
  for (let y = Math.floor(top + tall * 0.42 - pane); y <= top + tall * 0.42 + pane; y++) {
    for (let i = Math.ceil(x - pane); i <= x + pane; i++) blend(canvas, { x: i, y, share: 1 }, window);
  }
  for (let sail = 0; sail < 4; sail++)
    sailOf(canvas, { x, y: top, angle: turn + (sail * Math.PI) / 2, length: tall * 0.75 }, wall);
}

/** An arm, and along its outer part a blade on one side of it. */
function sailOf(
  canvas: Canvas,
  { x, y, angle, length }: { x: number; y: number; angle: number; length: number },
  colour: Colour,
): void {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const blade = length * 0.16;
  for (let along = 0; along < length; along += 0.5) {
    const wide = along > length * 0.25 ? blade : 0;
    for (let aside = -Math.max(0.5, length * 0.015); aside <= wide; aside += 0.5) {
      const at = {
        x: Math.round(x + cos * along - sin * aside),
        y: Math.round(y + sin * along + cos * aside),
      };
      blend(canvas, { ...at, share: aside > length * 0.02 ? 0.35 : 0.8 }, colour);
    }
  }
}
