import type { Area, Box, Objects, Scene } from "../api/types";

type Position = [number, number];

/**
 * Where a scene lies on the map. A scene with a place on the ground lies there. A plain image lies on a canvas of its own, in
 * the middle of the map's square world, where it keeps its shape: 100 % is zoom 16.
 */
export interface Space {
  /** Scene coordinates (degrees, or pixels x right y down) to [longitude, latitude] on the map. */
  toMap(position: Position): Position;
  toScene(position: Position): Position;
  /** The whole of it, in scene coordinates. */
  readonly extent: Box;
  readonly minZoom: number;
  readonly maxZoom: number;
}

export const FULL_SIZE_ZOOM = 16;
/** Pixels of the world's side at `FULL_SIZE_ZOOM`: MapLibre's tiles have 512. */
const WORLD = 512 * 2 ** FULL_SIZE_ZOOM;

export function spaceOf(scene: Scene): Space {
  if (scene.kind === "map") {
    const same = (position: Position): Position => position;
    return {
      toMap: same,
      toScene: same,
      extent: scene.bounds,
      minZoom: Math.max(0, scene.minzoom - 4),
      maxZoom: Math.min(24, scene.maxzoom + 4),
    };
  }
  const { width, height } = scene;
  return {
    toMap: ([x, y]) => fromUnit([0.5 + (x - width / 2) / WORLD, 0.5 + (y - height / 2) / WORLD]),
    toScene: (position) => {
      const [x, y] = toUnit(position);
      return [(x - 0.5) * WORLD + width / 2, (y - 0.5) * WORLD + height / 2];
    },
    extent: [0, 0, width, height],
    minZoom: FULL_SIZE_ZOOM - 2 - Math.max(0, Math.log2(Math.max(width, height) / 512)),
    maxZoom: 22,
  };
}

/** The corners of a box on the map: top left, top right, bottom right, bottom left. */
export function corners(space: Space, [x0, y0, x1, y1]: Box): [Position, Position, Position, Position] {
  const all = [space.toMap([x0, y0]), space.toMap([x1, y1])] as const;
  const [west, east] = [Math.min(all[0][0], all[1][0]), Math.max(all[0][0], all[1][0])];
  const [south, north] = [Math.min(all[0][1], all[1][1]), Math.max(all[0][1], all[1][1])];
  return [
    [west, north],
    [east, north],
    [east, south],
    [west, south],
  ];
}

export function areaToScene(space: Space, area: GeoJSON.Polygon): GeoJSON.Polygon {
  return {
    type: "Polygon",
    coordinates: area.coordinates.map((ring) => ring.map((at) => space.toScene(at as Position))),
  };
}

export function areaToMap<T extends Area>(space: Space, area: T): T {
  const ring = (points: GeoJSON.Position[]) => points.map((at) => space.toMap(at as Position));
  const coordinates =
    area.type === "Polygon" ? area.coordinates.map(ring) : area.coordinates.map((polygon) => polygon.map(ring));
  return { ...area, coordinates };
}

export function objectsToMap(space: Space, objects: Objects): Objects {
  const features = objects.features.map((feature) => ({ ...feature, geometry: areaToMap(space, feature.geometry) }));
  return { type: "FeatureCollection", features };
}

/** The box around a polygon, in its own coordinates. */
export function boxAround(area: Area): Box {
  const points = area.coordinates.flat(area.type === "Polygon" ? 1 : 2) as Position[];
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return [
    xs.reduce((a, b) => Math.min(a, b)),
    ys.reduce((a, b) => Math.min(a, b)),
    xs.reduce((a, b) => Math.max(a, b)),
    ys.reduce((a, b) => Math.max(a, b)),
  ];
}

/** Web Mercator on the unit square, y down. */
function toUnit([longitude, latitude]: Position): Position {
  const sine = Math.sin((latitude * Math.PI) / 180);
  return [longitude / 360 + 0.5, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
}

function fromUnit([x, y]: Position): Position {
  return [(x - 0.5) * 360, (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI];
}
