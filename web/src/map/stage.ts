import { effect } from "@preact/signals";
import maplibregl, { type GeoJSONSource, type ImageSource, type RasterTileSource } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import type { Client } from "../api/client";
import type { Area, Box, Scene } from "../api/types";
import { css } from "../state/colours";
import type { Layer } from "../state/layer";
import { probabilityPicture, type Session } from "../state/session";
import { Drawing, rectangle } from "./draw";
import { Masks } from "./masks";
import { areaToMap, areaToScene, boxAround, corners, objectsToMap, type Space, spaceOf } from "./space";

const PADDING = 36; // px around what is zoomed to
const LARGEST_PICTURE = 4096; // px: what every graphics card takes
const NOTHING: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };
const AREA = "area";
const SCENE = "scene";

/** The map: shows the open scene, its masks and the area of interest, and follows the session. */
export class Stage {
  readonly map: maplibregl.Map;
  readonly drawing: Drawing;
  private space: Space | null = null;
  /** Whether the whole scene is shown, and nobody moved the map since. */
  private whole = false;
  private readonly shown = new Map<string, { threshold: number; outlined: Layer["outlined"] }>();

  constructor(
    container: HTMLElement,
    private readonly session: Session,
  ) {
    this.map = new maplibregl.Map({
      container,
      style: { version: 8, sources: {}, layers: [] },
      attributionControl: false,
      renderWorldCopies: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      boxZoom: false, // shift and drag is the area's
      maxPitch: 0,
      fadeDuration: 0,
      transformRequest: (url) => authorized(session.client, url),
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "bottom-right");
    this.map.on("movestart", ({ originalEvent }) => {
      if (originalEvent) this.whole = false;
    });
    this.map.on("resize", () => this.whole && this.zoomTo(null)); // the panel beside it changes, a tablet is turned
    this.map.on("error", ({ error }) => session.complain(error.message));
    this.drawing = new Drawing(this.map, (area) => {
      session.drawing.value = false;
      if (area && this.space) session.area.value = areaToScene(this.space, area);
    });
    this.map.once("load", () => this.follow());
  }

  /** Show a box in scene coordinates; the whole scene when null. */
  zoomTo(box: Box | null): void {
    if (!this.space) return;
    this.whole = box === null;
    if (this.whole) this.map.setMinZoom(0);
    const [northWest, , southEast] = corners(this.space, box ?? this.space.extent);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.map.fitBounds([northWest, southEast], {
      padding: PADDING,
      maxZoom: this.space.maxZoom - (box ? 3 : 0),
      animate: box !== null && !still,
      duration: 600,
    });
    if (this.whole) this.map.setMinZoom(Math.min(this.space.minZoom, this.map.getZoom() - 1));
  }

  /** The part of the scene that the map shows now, as an area of interest. */
  visibleArea(): GeoJSON.Polygon | null {
    if (!this.space) return null;
    const seen = this.map.getBounds();
    const corner = (at: maplibregl.LngLat) => this.space?.toScene([at.lng, at.lat]) ?? [0, 0];
    const ring = rectangle(corner(seen.getNorthWest()), corner(seen.getSouthEast()));
    const box = boxAround({ type: "Polygon", coordinates: [ring] });
    const [x0, y0, x1, y1] = this.space.extent;
    const inside: Box = [Math.max(x0, box[0]), Math.max(y0, box[1]), Math.min(x1, box[2]), Math.min(y1, box[3])];
    if (inside[0] >= inside[2] || inside[1] >= inside[3]) return null;
    return { type: "Polygon", coordinates: [rectangle([inside[0], inside[1]], [inside[2], inside[3]])] };
  }

  private follow(): void {
    const { session } = this;
    // what an effect reads makes it run again: each reads only what is named here, and peeks at the rest
    effect(() => this.showScene(session.scene.value));
    effect(() => this.showLayers(session.layers.value, session.threshold.value));
    effect(() => this.showOpacity(session.layers.value, session.opacity.value, session.selected.value));
    effect(() => this.showArea(session.area.value));
    effect(() => this.drawing.set(session.drawing.value));
  }

  private showScene(scene: Scene | null): void {
    for (const key of [...this.shown.keys()]) this.drop(key);
    for (const id of [AREA, `${AREA}-shade`, SCENE]) if (this.map.getLayer(id)) this.map.removeLayer(id);
    for (const id of [AREA, SCENE]) if (this.map.getSource(id)) this.map.removeSource(id);
    this.space = scene && spaceOf(scene);
    if (!scene || !this.space) return;
    this.map.setMinZoom(0);
    this.map.setMaxZoom(this.space.maxZoom);
    this.zoomTo(null);
    const url = (path: string) => this.session.client.url(path);
    if (scene.kind === "map") {
      const { bounds, minzoom, maxzoom } = scene;
      this.map.addSource(SCENE, {
        type: "raster",
        tiles: [template(url, scene.tiles)],
        tileSize: 256,
        bounds,
        minzoom,
        maxzoom,
      });
    } else {
      const small = Math.max(scene.width, scene.height) <= LARGEST_PICTURE;
      const picture = url(small ? scene.picture : `${scene.picture}?side=${LARGEST_PICTURE}`);
      this.map.addSource(SCENE, { type: "image", url: picture, coordinates: corners(this.space, this.space.extent) });
    }
    const enlarged = scene.kind === "picture" ? "nearest" : "linear";
    this.map.addLayer({
      id: SCENE,
      type: "raster",
      source: SCENE,
      paint: { "raster-fade-duration": 0, "raster-resampling": enlarged },
    });
    this.map.addSource(AREA, { type: "geojson", data: NOTHING });
    this.map.addLayer({
      id: `${AREA}-shade`,
      type: "line",
      source: AREA,
      paint: { "line-color": "#000", "line-width": 4, "line-opacity": 0.45 },
    });
    this.map.addLayer({
      id: AREA,
      type: "line",
      source: AREA,
      paint: { "line-color": "#fff", "line-width": 2, "line-dasharray": [3, 2] },
    });
    this.showArea(this.session.area.peek());
  }

  private showArea(area: Area | null): void {
    const source = this.map.getSource<GeoJSONSource>(AREA);
    source?.setData(area && this.space ? areaToMap(this.space, area) : NOTHING);
  }

  private showLayers(layers: readonly Layer[], threshold: number): void {
    const found = layers.filter(({ answer }) => answer.found);
    for (const key of [...this.shown.keys()]) if (!found.some((layer) => layer.key === key)) this.drop(key);
    for (const layer of found) {
      if (!this.shown.has(layer.key)) this.add(layer, threshold);
      this.update(layer, threshold);
    }
  }

  private add(layer: Layer, threshold: number): void {
    if (!this.space) return;
    const scene = this.session.scene.peek();
    const { key, answer } = layer;
    if (answer.links.probability_tiles && scene?.kind === "map") {
      const { bounds, minzoom, maxzoom } = scene;
      const tiles = [Masks.address(answer.links.probability_tiles, threshold, layer.colour)];
      this.map.addSource(key, { type: "raster", tiles, tileSize: 256, bounds, minzoom, maxzoom });
    } else {
      const url = Masks.address(probabilityPicture(layer), threshold, layer.colour);
      this.map.addSource(key, { type: "image", url, coordinates: corners(this.space, this.space.extent) });
    }
    this.map.addSource(`${key}-outline`, { type: "geojson", data: NOTHING, tolerance: 0.2 });
    this.map.addLayer({ id: key, type: "raster", source: key, paint: { "raster-fade-duration": 0 } }, `${AREA}-shade`);
    this.map.addLayer(
      {
        id: `${key}-outline`,
        type: "line",
        source: `${key}-outline`,
        layout: { "line-join": "round" },
        paint: { "line-color": css(layer.colour), "line-width": ["interpolate", ["linear"], ["zoom"], 12, 1, 18, 2] },
      },
      `${AREA}-shade`,
    );
    this.shown.set(key, { threshold, outlined: null });
  }

  private update(layer: Layer, threshold: number): void {
    const { key, answer, outlined } = layer;
    const shown = this.shown.get(key);
    if (!shown || !this.space) return;
    if (shown.threshold !== threshold) {
      if (answer.links.probability_tiles) {
        const tiles = [Masks.address(answer.links.probability_tiles, threshold, layer.colour)];
        this.map.getSource<RasterTileSource>(key)?.setTiles(tiles);
      } else {
        const url = Masks.address(probabilityPicture(layer), threshold, layer.colour);
        this.map.getSource<ImageSource>(key)?.updateImage({ url });
      }
    }
    // Outlines of another threshold would contradict the mask: they wait until the service has those of this one.
    const fitting = outlined?.threshold === threshold ? outlined : null;
    if (shown.outlined !== fitting) {
      const data = fitting ? objectsToMap(this.space, fitting.objects) : NOTHING;
      this.map.getSource<GeoJSONSource>(`${key}-outline`)?.setData(data);
    }
    const visibility = layer.visible ? "visible" : "none";
    for (const id of [key, `${key}-outline`]) this.map.setLayoutProperty(id, "visibility", visibility);
    this.shown.set(key, { threshold, outlined: fitting });
  }

  private showOpacity(layers: readonly Layer[], opacity: number, selected: string | null): void {
    for (const { key } of layers) {
      if (!this.shown.has(key)) continue;
      this.map.setPaintProperty(key, "raster-opacity", opacity);
      const quiet = selected !== null && selected !== key;
      this.map.setPaintProperty(`${key}-outline`, "line-opacity", opacity === 0 ? 0 : quiet ? 0.6 : 1);
    }
  }

  private drop(key: string): void {
    for (const id of [key, `${key}-outline`]) {
      if (this.map.getLayer(id)) this.map.removeLayer(id);
      if (this.map.getSource(id)) this.map.removeSource(id);
    }
    this.shown.delete(key);
  }
}

/** The address of tiles; making it absolute must not escape the braces. */
function template(url: (path: string) => string, path: string): string {
  return url(path).replace(/%7B/g, "{").replace(/%7D/g, "}");
}

function authorized(client: Client, url: string): maplibregl.RequestParameters {
  return url.startsWith(client.root) ? { url, headers: client.headers() } : { url };
}
