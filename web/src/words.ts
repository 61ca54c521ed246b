/** Numbers and places in words. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const THREE_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function count(value: number): string {
  return WHOLE.format(value);
}

/** An area with its unit: m² below a hectare's tenth, then ha, then km². */
export function areaWords(value: number, unit: "m2" | "px"): string {
  if (unit === "px") return `${count(value)} px`;
  if (value < 1_000) return `${THREE_DIGITS.format(value)} m²`;
  if (value < 10_000) return `${count(value)} m²`;
  if (value < 1_000_000) return `${THREE_DIGITS.format(value / 10_000)} ha`;
  return `${THREE_DIGITS.format(value / 1_000_000)} km²`;
}

export function bytesWords(bytes: number): string {
  const units = ["bytes", "KB", "MB", "GB"];
  let step = 0;
  while (bytes >= 1000 && step < units.length - 1) {
    bytes /= 1000;
    step++;
  }
  return `${THREE_DIGITS.format(bytes)} ${units[step]}`;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A place on the ground, to about a metre. */
export function placeWords([longitude, latitude]: readonly [number, number]): string {
  const ns = latitude < 0 ? "S" : "N";
  const ew = longitude < 0 ? "W" : "E";
  return `${Math.abs(latitude).toFixed(5)}° ${ns}, ${Math.abs(longitude).toFixed(5)}° ${ew}`;
}

/** What people type into the phrase box as phrases: several are parted by a semicolon or a new line. */
export function phrasesIn(text: string): string[] {
  const phrases = text.split(/[;\n]/).map((phrase) => phrase.trim().replace(/\s+/g, " "));
  return [...new Set(phrases.filter(Boolean))];
}
