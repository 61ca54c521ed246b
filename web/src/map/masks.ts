import maplibregl, { type RequestParameters } from "maplibre-gl";
import type { Client } from "../api/client";
import { type Colour, decodeGrey, type Grey, paint } from "./grey";

/**
 * Masks for MapLibre, made in the browser: an address `mask://PATH#THRESHOLD,RED,GREEN,BLUE` is the grey PNG at PATH, cut at
 * the threshold and coloured. The grey values are kept, so that the slider needs neither the network nor the model.
 */
export class Masks {
  private readonly greys = new Map<string, Promise<Grey>>();

  constructor(
    private readonly client: Client,
    /** How many bytes of grey values are kept. */
    private readonly budget = 96 * 1024 * 1024,
  ) {
    maplibregl.addProtocol("mask", (request, abort) => this.load(request, abort));
  }

  /** The address of a mask. `path` may be a template of tiles. */
  static address(path: string, threshold: number, colour: Colour): string {
    return `mask://${path}#${[threshold, ...colour].join(",")}`;
  }

  /** The grey values at an address of the service. */
  grey(path: string): Promise<Grey> {
    const kept = this.greys.get(path);
    if (kept) {
      this.greys.delete(path); // to put it last: the first is the one that was not used for longest
      this.greys.set(path, kept);
      return kept;
    }
    const grey = this.client.fetch(path).then(async (response) => decodeGrey(await response.blob()));
    this.greys.set(path, grey);
    grey.then(
      () => this.trim(),
      () => this.greys.delete(path),
    );
    return grey;
  }

  private async load({ url }: RequestParameters, abort: AbortController): Promise<{ data: ImageBitmap }> {
    const [path, how] = url.slice("mask://".length).split("#") as [string, string];
    const [threshold, ...colour] = how.split(",").map(Number) as [number, number, number, number];
    const grey = await this.grey(path);
    if (abort.signal.aborted) throw new DOMException("no longer wanted", "AbortError");
    const image = new ImageData(paint(grey, threshold, colour), grey.width, grey.height);
    return { data: await createImageBitmap(image) };
  }

  private async trim(): Promise<void> {
    let bytes = 0;
    for (const [path, grey] of [...this.greys].reverse()) {
      bytes += (await grey.catch(() => null))?.values.length ?? 0;
      if (bytes > this.budget) this.greys.delete(path);
    }
  }
}
