import type maplibregl from "maplibre-gl";
import type { GeoJSONSource } from "maplibre-gl";

type Position = [number, number];

const SOURCE = "drawing";
const DRAG = 6; // px: a press that moves less is a click
const EMPTY: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };

/** A ring around the rectangle with two opposite corners. */
export function rectangle([x0, y0]: Position, [x1, y1]: Position): Position[] {
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]; // biome-ignore format: a ring
}

/** The polygon of these corners; null where they span none. */
export function polygonOf(points: readonly Position[]): GeoJSON.Polygon | null {
  const [first, ...rest] = points;
  return first && rest.length >= 2 ? { type: "Polygon", coordinates: [[...points, first]] } : null;
}

/**
 * Draws an area of interest: drag for a rectangle, or click corners and end with Enter, a double click or the first corner.
 * Escape gives up.
 */
export class Drawing {
  private active = false;
  private points: Position[] = [];
  private pressed: { at: maplibregl.Point; place: Position } | null = null;

  constructor(
    private readonly map: maplibregl.Map,
    /** Told the area, or null when given up. */
    private readonly onEnd: (area: GeoJSON.Polygon | null) => void,
  ) {
    map.on("mousedown", (event) => this.press(event));
    map.on("touchstart", (event) => event.points.length === 1 && this.press(event));
    map.on("mousemove", (event) => this.move(event));
    map.on("touchmove", (event) => this.move(event));
    map.on("mouseup", (event) => this.release(event));
    map.on("touchend", (event) => this.release(event));
    window.addEventListener("keydown", (event) => this.key(event));
  }

  set(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    this.points = [];
    this.pressed = null;
    this.map.getCanvas().style.cursor = active ? "crosshair" : "";
    if (active) {
      this.map.dragPan.disable();
      this.map.doubleClickZoom.disable();
      this.map.getCanvas().focus();
      this.map.addSource(SOURCE, { type: "geojson", data: EMPTY });
      this.map.addLayer({ id: SOURCE, type: "line", source: SOURCE, paint: { "line-color": "#fff", "line-width": 2 } });
      const paint = {
        "circle-radius": 5,
        "circle-color": "#fff",
        "circle-stroke-color": "#10282e",
        "circle-stroke-width": 2,
      };
      this.map.addLayer({ id: `${SOURCE}-corners`, type: "circle", source: SOURCE, paint });
    } else {
      this.map.dragPan.enable();
      // a double click that ended the drawing must not zoom, too
      setTimeout(() => !this.active && this.map.doubleClickZoom.enable(), 400);
      this.map.removeLayer(`${SOURCE}-corners`);
      this.map.removeLayer(SOURCE);
      this.map.removeSource(SOURCE);
    }
  }

  private press({ point, lngLat }: maplibregl.MapMouseEvent | maplibregl.MapTouchEvent): void {
    if (this.active) this.pressed = { at: point, place: lngLat.toArray() };
  }

  private move({ point, lngLat }: maplibregl.MapMouseEvent | maplibregl.MapTouchEvent): void {
    if (!this.active) return;
    const place = lngLat.toArray();
    if (this.isDrag(point) && this.pressed && !this.points.length) this.show(rectangle(this.pressed.place, place));
    else this.show([...this.points, place]);
  }

  private release({ point, lngLat }: maplibregl.MapMouseEvent | maplibregl.MapTouchEvent): void {
    if (!this.active || !this.pressed) return;
    const place = lngLat.toArray();
    if (this.isDrag(point) && !this.points.length) {
      this.onEnd({ type: "Polygon", coordinates: [rectangle(this.pressed.place, place)] });
      return;
    }
    this.pressed = null;
    const near = (other: Position | undefined) => other && this.map.project(other).dist(point) < 2 * DRAG;
    if (near(this.points.at(-1)) || (this.points.length > 2 && near(this.points[0]))) {
      this.end();
    } else {
      this.points.push(place);
      this.show(this.points);
    }
  }

  private key(event: KeyboardEvent): void {
    if (!this.active) return;
    if (event.key === "Escape") this.onEnd(null);
    else if (event.key === "Enter" && event.target === this.map.getCanvas()) this.end();
  }

  private end(): void {
    const area = polygonOf(this.points);
    if (area) this.onEnd(area);
  }

  private isDrag(point: maplibregl.Point): boolean {
    return this.pressed !== null && this.pressed.at.dist(point) > DRAG;
  }

  private show(points: readonly Position[]): void {
    const corners = points.map(
      (coordinates): GeoJSON.Feature => ({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates } }),
    );
    const line: GeoJSON.Feature = {
      type: "Feature",
      properties: {},
      geometry: { type: "LineString", coordinates: [...points] },
    };
    this.map
      .getSource<GeoJSONSource>(SOURCE)
      ?.setData({ type: "FeatureCollection", features: points.length > 1 ? [line, ...corners] : corners });
  }
}
