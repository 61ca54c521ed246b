import { effect } from "@preact/signals";
import maplibregl from "maplibre-gl";
import type { Session } from "../state/session";
import { count, placeWords } from "../words";
import { FULL_SIZE_ZOOM, type Space, spaceOf } from "./space";

/** Tells the place under the pointer, and how large things are shown. */
export class Readout implements maplibregl.IControl {
  private readonly element = document.createElement("div");
  private readonly scale = new maplibregl.ScaleControl({ maxWidth: 120 });
  private readonly text = document.createElement("span");
  private space: Space | null = null;
  private stop: (() => void) | null = null;

  constructor(private readonly session: Session) {
    this.element.className = "maplibregl-ctrl readout";
  }

  onAdd(map: maplibregl.Map): HTMLElement {
    this.element.append(this.scale.onAdd(map), this.text);
    map.on("mousemove", ({ lngLat }) => this.tell(map, lngLat.toArray()));
    map.on("zoom", () => this.tell(map, null));
    map.on("mouseout", () => this.tell(map, null));
    this.stop = effect(() => {
      const scene = this.session.scene.value;
      this.space = scene && spaceOf(scene);
      this.element.hidden = !scene;
      this.element.classList.toggle("pixels", scene?.kind === "picture");
      this.tell(map, null);
    });
    return this.element;
  }

  onRemove(): void {
    this.stop?.();
    this.scale.onRemove();
    this.element.remove();
  }

  private tell(map: maplibregl.Map, at: [number, number] | null): void {
    const scene = this.session.scene.peek();
    if (!scene || !this.space) return;
    const parts: string[] = [];
    if (scene.kind === "picture") parts.push(`${count(100 * 2 ** (map.getZoom() - FULL_SIZE_ZOOM))} %`);
    if (at) {
      const [x, y] = this.space.toScene(at);
      const inside = x >= 0 && y >= 0 && x < scene.width && y < scene.height;
      if (scene.kind === "map") parts.push(placeWords(at));
      else if (inside) parts.push(`x ${Math.floor(x)}, y ${Math.floor(y)}`);
    }
    this.text.textContent = parts.join(" · ");
  }
}
