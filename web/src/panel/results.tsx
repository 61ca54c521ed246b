import { Fragment } from "preact";
import { useState } from "preact/hooks";
import type { Box, ObjectProperties, Objects } from "../api/types";
import { boxAround } from "../map/space";
import { css } from "../state/colours";
import { type Layer, measure } from "../state/layer";
import { areaWords, count, plural } from "../words";
import { usePage } from "./context";
import { DownloadAll, Downloads } from "./downloads";
import { Icon } from "./icons";
import { Sliders } from "./sliders";

/** What was found: a row for each phrase. */
export function Results() {
  const { session } = usePage();
  const layers = session.layers.value;
  if (!layers.length) return null;
  return (
    <section class="results" aria-labelledby="results">
      <h3 id="results">Answers</h3>
      <table>
        <thead>
          <tr>
            <th scope="col">
              <span class="hidden">Shown</span>
            </th>
            <th scope="col">Phrase</th>
            <th scope="col" class="number" title="How sure the model is that the thing is there at all">
              Score
            </th>
            <th scope="col" class="number">
              Area
            </th>
            <th scope="col" class="number">
              Count
            </th>
            <th scope="col">
              <span class="hidden">Remove</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {layers.map((layer) => (
            <Row key={layer.key} layer={layer} />
          ))}
        </tbody>
      </table>
      {layers.some(({ answer }) => answer.found) && <Sliders />}
      <DownloadAll layers={layers} />
    </section>
  );
}

function Row({ layer }: { layer: Layer }) {
  const { session, stage } = usePage();
  const { key, answer, colour, visible } = layer;
  const { found, phrase, score } = answer;
  const selected = session.selected.value === key;
  const { area, objects, exact } = measure(layer, session.threshold.value);
  const select = () => {
    session.selected.value = selected ? null : key;
    if (!selected && answer.bounds) stage()?.zoomTo(answer.bounds);
  };
  return (
    <Fragment>
      <tr class={`${selected ? "selected" : ""} ${found ? "" : "absent"}`}>
        <td>
          {found && (
            <button
              type="button"
              class="swatch"
              style={{ "--colour": css(colour) }}
              aria-pressed={visible}
              aria-label={`Show ${phrase}`}
              title={visible ? "Hide this mask" : "Show this mask"}
              onClick={() => session.toggle(layer)}
            >
              {!visible && <Icon name="hidden" />}
            </button>
          )}
        </td>
        <th scope="row">
          {found ? (
            <button type="button" class="phrase-link" aria-expanded={selected} title="Zoom to it" onClick={select}>
              {phrase}
            </button>
          ) : (
            phrase
          )}
        </th>
        <td class="number">{score.toFixed(2)}</td>
        {found ? (
          <>
            <td class="number" data-testid="area">
              {exact ? "" : "≈ "}
              {areaWords(area, answer.area_unit)}
            </td>
            <td class="number" data-testid="count">
              {objects === null ? "…" : count(objects)}
            </td>
          </>
        ) : (
          <td class="number nothing" colSpan={2}>
            Nothing found
          </td>
        )}
        <td>
          <button
            type="button"
            class="plain"
            aria-label={`Remove ${phrase}`}
            title="Remove"
            onClick={() => session.remove(layer)}
          >
            <Icon name="close" />
          </button>
        </td>
      </tr>
      {selected && (
        <tr class="details">
          <td />
          <td colSpan={5}>
            {layer.outlined && layer.outlined.objects.features.length > 1 && (
              <Stepper objects={layer.outlined.objects} />
            )}
            <Downloads layer={layer} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** Goes from one object to the next, the largest first. */
function Stepper({ objects }: { objects: Objects }) {
  const { stage } = usePage();
  const [at, setAt] = useState(-1);
  const { features } = objects;
  const go = (step: number) => {
    const next = at < 0 && step < 0 ? features.length - 1 : (at + step + features.length) % features.length;
    const feature = features[next];
    if (!feature) return;
    setAt(next);
    stage()?.zoomTo(boxAround(feature.geometry) as Box);
  };
  const current = features[at]?.properties;
  return (
    <div class="stepper">
      <button type="button" class="plain" aria-label="Object before" onClick={() => go(-1)}>
        <Icon name="back" />
      </button>
      <span aria-live="polite">
        {current ? `${at + 1} of ${count(features.length)}${objectWords(current)}` : plural(features.length, "object")}
      </span>
      <button type="button" class="plain" aria-label="Next object" onClick={() => go(1)}>
        <Icon name="next" />
      </button>
    </div>
  );
}

function objectWords({ area_m2, score }: ObjectProperties): string {
  return `${area_m2 === null ? "" : ` · ${areaWords(area_m2, "m2")}`} · score ${score.toFixed(2)}`;
}
