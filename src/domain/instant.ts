const PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:[Zz]|[+-](\d{2}):(\d{2}))$/;

/**
 * Whether `text` is an instant as RFC 3339 writes it, and one that Date can hold: no leap second, no year 0. What passes is
 * to be handed on as a Date, since PostgreSQL takes fewer years and offsets than the standard.
 */
export function isInstant(text: string): boolean {
  const match = PATTERN.exec(text);
  if (!match) return false;
  const [year, month, day, hour, minute, second, aheadHours, aheadMinutes] = match
    .slice(1)
    .map((digits) => Number(digits ?? 0)) as [number, number, number, number, number, number, number, number];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return false;
  return hour < 24 && minute < 60 && second < 60 && aheadHours < 24 && aheadMinutes < 60;
}

/** Date itself would take February 30 for March 2. */
function daysIn(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31;
}
