import type { Answer, Objects, Result } from "../api/types";
import { type Colour, pixelsAbove } from "../map/grey";

/** One phrase's answer on the map. */
export interface Layer {
  readonly key: string;
  readonly result: string;
  readonly answer: Answer;
  readonly colour: Colour;
  readonly visible: boolean;
  /** The threshold of the model's own mask. */
  readonly ownThreshold: number;
  /** Pixels of each grey value of its probability, maybe of a reduced picture of it; null until it is there. */
  readonly histogram: Uint32Array | null;
  /** Its objects, as the service counted them at one threshold; null until they are there. */
  readonly outlined: Outlined | null;
}

export interface Outlined {
  readonly threshold: number;
  readonly objects: Objects;
}

export interface Measure {
  area: number;
  /** Null where nobody has counted yet. */
  objects: number | null;
  /** Whether the service measured it; otherwise it is reckoned from the histogram. */
  exact: boolean;
}

export function layerOf(result: Result, answer: Answer, colour: Colour): Layer {
  return {
    key: `${result.id}-${answer.number}`,
    result: result.id,
    answer,
    colour,
    visible: true,
    ownThreshold: result.threshold,
    histogram: null,
    outlined: null,
  };
}

/** What a layer covers at a threshold. */
export function measure(layer: Layer, threshold: number): Measure {
  const { answer, ownThreshold, outlined, histogram } = layer;
  if (!answer.found) return { area: 0, objects: 0, exact: true };
  if (threshold === ownThreshold) return { area: answer.area, objects: answer.objects, exact: true };
  const features = outlined?.threshold === threshold ? outlined.objects.features : null;
  const objects = features ? features.length : null;
  if (features && answer.area_unit === "m2") {
    const area = features.reduce((sum, { properties }) => sum + (properties.area_m2 ?? 0), 0);
    return { area, objects, exact: true };
  }
  if (!histogram) return { area: answer.area, objects, exact: false };
  const own = pixelsAbove(histogram, ownThreshold);
  const area = own ? Math.round((answer.area * pixelsAbove(histogram, threshold)) / own) : 0;
  return { area, objects, exact: answer.area_unit === "px" && own === answer.area }; // not from a reduced picture
}

/** A link of a layer that follows the slider. */
export function linkAt(layer: Layer, link: string, threshold: number): string {
  if (threshold === layer.ownThreshold) return link;
  return `${link}${link.includes("?") ? "&" : "?"}threshold=${threshold}`;
}
