/** Probabilities as grey values: what the masks on the map are made of. Nothing in here touches the page. */

export interface Grey {
  width: number;
  height: number;
  /** One byte for each pixel, row by row: 255 times the probability. */
  values: Uint8Array;
}

export type Colour = readonly [red: number, green: number, blue: number];

/** The lowest grey value that is foreground: value > 255 * threshold, as the service has it. */
export function cutOf(threshold: number): number {
  // 0.1 + 0.2 and its like must not move the cut by a whole step
  return Math.min(255, Math.floor(255 * threshold + 1e-9) + 1);
}

/** Pixels of each grey value. */
export function histogramOf({ values }: Grey): Uint32Array {
  const histogram = new Uint32Array(256);
  for (const value of values) histogram[value] = (histogram[value] as number) + 1;
  return histogram;
}

/** How many pixels a threshold lets through. */
export function pixelsAbove(histogram: Uint32Array, threshold: number): number {
  return histogram.subarray(cutOf(threshold)).reduce((sum, count) => sum + count, 0);
}

/** The mask at a threshold: opaque in a colour where foreground, transparent elsewhere. RGBA, row by row. */
export function paint({ values }: Grey, threshold: number, [red, green, blue]: Colour): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(values.length * 4);
  const inside = new Uint32Array(new Uint8Array([red, green, blue, 255]).buffer)[0] as number; // in this machine's order
  const words = new Uint32Array(pixels.buffer);
  const cut = cutOf(threshold);
  for (let i = 0; i < values.length; i++) if ((values[i] as number) >= cut) words[i] = inside;
  return pixels;
}

/** Grey values from RGBA; what is transparent has none. */
export function greyOf(rgba: Uint8ClampedArray, width: number, height: number): Grey {
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) if (rgba[4 * i + 3]) values[i] = rgba[4 * i] as number;
  return { width, height, values };
}

/** The grey values in a PNG. */
export async function decodeGrey(png: Blob): Promise<Grey> {
  const bitmap = await createImageBitmap(png, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser gives no canvas to draw on.");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return greyOf(context.getImageData(0, 0, width, height).data, width, height);
}
