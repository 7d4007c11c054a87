// A process whose clock is wrong by CLOCK_SHIFT_MS: loaded before anything else, by `node --import`.
const shift = Number(process.env['CLOCK_SHIFT_MS']);
const RightDate = Date;
const now = (): number => RightDate.now() + shift;

globalThis.Date = class extends RightDate {
  constructor(...given: ConstructorParameters<typeof RightDate> | []) {
    // `new Date()` asks the time, everything else is told it.
    super(...((given.length === 0 ? [now()] : given) as [number]));
  }
  static override now = now;
} as DateConstructor;
