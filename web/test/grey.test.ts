import { describe, expect, it } from "vitest";
import { cutOf, greyOf, histogramOf, paint, pixelsAbove } from "../src/map/grey";

const grey = { width: 4, height: 1, values: new Uint8Array([0, 127, 128, 255]) };

describe("the threshold", () => {
  it("lets through what is above 255 times the probability, as the service does", () => {
    for (const threshold of [0.01, 0.29, 0.3, 0.5, 0.57, 0.99]) {
      const first = Array.from({ length: 256 }, (_, value) => value).find((value) => value > 255 * threshold + 1e-6);
      expect(cutOf(threshold)).toBe(first);
    }
  });

  it("paints the foreground opaque and leaves the rest transparent", () => {
    const pixels = paint(grey, 0.5, [255, 40, 120]);
    expect([...pixels]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 255, 40, 120, 255, 255, 40, 120, 255]);
  });

  it("counts the same pixels as it paints", () => {
    const values = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 256);
    const many = { width: 100, height: 50, values };
    for (const threshold of [0.01, 0.2, 0.5, 0.731, 0.99]) {
      const painted = paint(many, threshold, [1, 2, 3]).filter((value, i) => i % 4 === 3 && value === 255).length;
      expect(pixelsAbove(histogramOf(many), threshold)).toBe(painted);
    }
  });
});

it("takes no probability from where a tile is transparent", () => {
  const rgba = new Uint8ClampedArray([200, 200, 200, 255, 200, 200, 200, 0]);
  expect([...greyOf(rgba, 2, 1).values]).toEqual([200, 0]);
});
