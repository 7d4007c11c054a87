// What the demo shows: lines, words as they come, and below them a bar of how far it is. Only a terminal gets the bar.

export interface Screen {
  /** One whole line. */
  line(text?: string): void;
  /** Text that goes on where the last words ended; `line` ends it. */
  words(text: string): void;
  /** What the bar is to say from now on: the next of so many steps, and the time it takes. */
  step(what: string): void;
  /** How that is going: on a terminal beside the bar, elsewhere as a line. */
  note(text: string): void;
  /** Takes the bar away. */
  close(): void;
}

interface Output {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const BAR = 20;
const REDRAW_MS = 100;

export function openScreen(out: Output, steps: number): Screen {
  return out.isTTY && process.env['TERM'] !== 'dumb' ? onTerminal(out, steps) : onPaper(out);
}

function onPaper(out: Output): Screen {
  let open = false;
  const line = (text = ''): void => {
    out.write(`${open ? '\n' : ''}${text}\n`);
    open = false;
  };
  return {
    line,
    words(text) {
      out.write(open ? text : `  ${text}`);
      open = true;
    },
    step() {},
    note: (text) => line(`  ${text}`),
    close: () => void (open && line()),
  };
}

function onTerminal(out: Output, steps: number): Screen {
  let step = 0;
  let what = '';
  let noted = '';
  let since = performance.now();
  let open = false;
  let drawn = false;

  const erase = (): void => {
    if (drawn) out.write('\r\u001B[2K');
    drawn = false;
  };
  const draw = (): void => {
    // Words that are coming stand where the bar would.
    if (open || what === '') return;
    erase();
    const done = Math.round((BAR * (step - 1)) / steps);
    const seconds = ((performance.now() - since) / 1000).toFixed(1);
    // The seconds first: what is noted may be longer than the terminal is wide.
    const text = `[${'#'.repeat(done)}${'.'.repeat(BAR - done)}] ${step}/${steps} ${what} ${seconds} s ${noted}`;
    out.write(shortened(text.trimEnd(), (out.columns ?? 80) - 1));
    drawn = true;
  };
  const line = (text = ''): void => {
    erase();
    out.write(`${open ? '\n' : ''}${text}\n`);
    open = false;
    // It was about what this line has settled.
    noted = '';
    draw();
  };
  const timer = setInterval(draw, REDRAW_MS);
  return {
    line,
    words(text) {
      erase();
      out.write(open ? text : `  ${text}`);
      open = true;
    },
    step(next) {
      step += 1;
      what = next;
      noted = '';
      since = performance.now();
      draw();
    },
    note(text) {
      noted = text;
      draw();
    },
    close() {
      clearInterval(timer);
      erase();
      if (open) out.write('\n');
      open = false;
      what = '';
    },
  };
}

const shortened = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, width - 3)}...`;
