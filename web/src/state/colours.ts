import type { Colour } from "../map/grey";

/** Bright on water, land and roofs, and apart from each other; the first is the one of `refersat predict`. */
const COLOURS: readonly Colour[] = [
  [255, 40, 120],
  [0, 194, 255],
  [255, 208, 0],
  [154, 100, 255],
  [98, 230, 60],
  [255, 122, 26],
  [0, 224, 176],
  [255, 255, 255],
];

/** The first colour that is used least. */
export function freeColour(used: readonly Colour[]): Colour {
  const uses = (colour: Colour) => used.filter((other) => css(other) === css(colour)).length;
  return COLOURS.reduce((best, colour) => (uses(colour) < uses(best) ? colour : best));
}

export function css([red, green, blue]: Colour): string {
  return `rgb(${red}, ${green}, ${blue})`;
}
