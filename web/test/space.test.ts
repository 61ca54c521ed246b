import { describe, expect, it } from "vitest";
import type { MapScene, PictureScene } from "../src/api/types";
import { areaToMap, areaToScene, boxAround, corners, spaceOf } from "../src/map/space";

const common = { id: "s", name: "s", uploaded: false, bands: 3, dtype: "uint8", crs: null, gsd: null, picture: "/p" };
const picture: PictureScene = { ...common, run: "segment", kind: "picture", width: 320, height: 200 };
const map: MapScene = {
  ...common,
  run: "segment",
  kind: "map",
  width: 10,
  height: 10,
  bounds: [120, 14, 121, 15],
  tiles: "/t",
  minzoom: 10,
  maxzoom: 20,
};

describe("a plain image", () => {
  const space = spaceOf(picture);

  it("comes back to its pixels", () => {
    for (const pixel of [
      [0, 0],
      [320, 200],
      [17.25, 3.5],
    ] as const) {
      const [x, y] = space.toScene(space.toMap([...pixel]));
      expect(x).toBeCloseTo(pixel[0], 5);
      expect(y).toBeCloseTo(pixel[1], 5);
    }
  });

  it("lies with its first row in the north, and keeps its shape in Web Mercator", () => {
    const [[west, north], [east], [, south]] = corners(space, space.extent);
    expect(north).toBeGreaterThan(south);
    const mercator = (latitude: number) => Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360));
    const height = mercator(north) - mercator(south);
    const width = ((east - west) * Math.PI) / 180;
    expect(width / height).toBeCloseTo(320 / 200, 6);
  });

  it("gives areas back as they were drawn", () => {
    const area = {
      type: "Polygon" as const,
      coordinates: [
        [
          [1, 2],
          [30, 2],
          [30, 40],
          [1, 2],
        ],
      ],
    };
    const back = areaToScene(space, areaToMap(space, area));
    expect(boxAround(back).map((value) => Math.round(value))).toEqual([1, 2, 30, 40]);
  });
});

it("a scene on the ground stays where it is", () => {
  const space = spaceOf(map);
  expect(space.toMap([120.5, 14.5])).toEqual([120.5, 14.5]);
  expect(corners(space, map.bounds)[0]).toEqual([120, 15]);
});

it("finds the box around several polygons", () => {
  const ring = (x: number) => [
    [
      [x, 0],
      [x + 1, 0],
      [x + 1, 1],
      [x, 0],
    ],
  ];
  expect(boxAround({ type: "MultiPolygon", coordinates: [ring(0), ring(5)] })).toEqual([0, 0, 6, 1]);
});
