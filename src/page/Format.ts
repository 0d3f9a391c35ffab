/**
 * Figures and times as people read them. Pure; everything is plain text, and nothing of it is markup.
 */

/** What stands where nothing is known. */
export const unknown = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** At most this many significant digits, and none of them after the point once they are used up. */
const significant = (value: number): string => {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
};

/** `1,234,567`. */
export const count = (value: number): string => whole.format(value);

/** Of a second: `0`, `0.25`, `12.5`, `1,234`. */
export const perSecond = (value: number | undefined): string => {
  if (value === undefined) return unknown;
  if (value === 0) return "0";
  return value < 99.95 ? significant(value) : whole.format(value);
};

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Decimal units, as networks are measured in: `999 B`, `1.00 kB`, `12.5 MB`. */
export const bytes = (value: number): string => {
  let unit = 0;
  let scaled = value;
  // What would be rounded to 1000 belongs to the next unit.
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? scaled.toFixed(0) : significant(scaled)} ${units[unit]}`;
};

/** `12.5 MB/s`. */
export const throughput = (value: number | undefined): string =>
  value === undefined ? unknown : `${bytes(value)}/s`;

/** A part of a whole, 0 to 1, in per cent. */
export const share = (value: number | undefined): string =>
  value === undefined ? unknown : `${(value * 100).toFixed(1)} %`;

/** What took so many milliseconds. */
export const millis = (value: number | null): string =>
  value === null ? unknown : `${value < 0.995 ? value.toFixed(2) : significant(value)} ms`;

/** A length of time in its two largest units: `0 s`, `59 s`, `2 min 5 s`, `3 h 0 min`, `4 d 2 h`. */
export const duration = (milliseconds: number): string => {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
};

/** How long before `now` an RFC 3339 instant was. */
export const age = (instant: string | null, now: number): string =>
  instant === null ? unknown : duration(now - Date.parse(instant));

const two = (value: number): string => String(value).padStart(2, "0");

/** The time of day of the viewer: `21:03:05`. */
export const clock = (epochMillis: number): string => {
  const date = new Date(epochMillis);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
};
