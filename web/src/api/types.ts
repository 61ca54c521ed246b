/** What the service answers; docs/reference of the service and /openapi.json tell it in full. */

export type Box = [west: number, south: number, east: number, north: number];
export type Area = GeoJSON.Polygon | GeoJSON.MultiPolygon;

export interface About {
  version: string;
  model: string;
  summary: string;
  notes: string[];
  licence: string | null;
  /** The model's own: a probability. */
  threshold: number;
  token_required: boolean;
  examples: string[];
  limits: { upload_bytes: number; pixels: number; segment_pixels: number; phrases: number };
}

interface SceneBase {
  id: string;
  name: string;
  uploaded: boolean;
  width: number;
  height: number;
  bands: number;
  dtype: string;
  crs: string | null;
  /** Metres per pixel. */
  gsd: number | null;
  picture: string;
  /** How to ask about the whole of it. */
  run: "segment" | "job";
}

export interface MapScene extends SceneBase {
  kind: "map";
  bounds: Box;
  tiles: string;
  minzoom: number;
  maxzoom: number;
}

export interface PictureScene extends SceneBase {
  kind: "picture";
}

export type Scene = MapScene | PictureScene;

export interface Answer {
  number: number;
  phrase: string;
  found: boolean;
  score: number;
  objects: number;
  area: number;
  area_unit: "m2" | "px";
  /** In degrees on a map, in pixels (x0, y0, x1, y1) on a picture. */
  bounds: Box | null;
  links: {
    geojson: string;
    gpkg: string;
    mask: string;
    overlay: string;
    probability: string;
    probability_tiles: string | null;
  };
}

export interface Result {
  id: string;
  scene: string;
  model: string;
  threshold: number;
  area: Area | null;
  messages: string[];
  links: { geojson: string; gpkg: string };
  answers: Answer[];
}

export type JobStatus = "accepted" | "running" | "successful" | "failed" | "dismissed";

export interface Job {
  jobID: string;
  status: JobStatus;
  message: string;
  /** Percent. */
  progress: number;
  inputs: { scene: string; phrases: string[] };
}

/** One object of one phrase in a GeoJSON of the service. */
export interface ObjectProperties {
  phrase: string;
  /** Mean probability of its pixels. */
  score: number;
  /** Null on a plain image. */
  area_m2: number | null;
  instance: number;
}

export type Objects = GeoJSON.FeatureCollection<GeoJSON.Polygon | GeoJSON.MultiPolygon, ObjectProperties>;
