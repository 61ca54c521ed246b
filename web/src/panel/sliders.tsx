import { usePage } from "./context";
import { Icon } from "./icons";

/** How the masks look: their opacity, and the probability from which a pixel belongs to them. */
export function Sliders() {
  const { session } = usePage();
  const { threshold, opacity, about } = session;
  const own = about.value?.threshold ?? 0.5;
  return (
    <div class="sliders">
      <label for="threshold">Threshold</label>
      <input
        id="threshold"
        type="range"
        min={0.01}
        max={0.99}
        step={0.01}
        value={threshold.value}
        aria-valuetext={`probability ${threshold.value.toFixed(2)}`}
        onInput={(event) => session.setThreshold(Number(event.currentTarget.value))}
      />
      <output for="threshold">{threshold.value.toFixed(2)}</output>
      <button
        type="button"
        class="plain"
        disabled={threshold.value === own}
        aria-label={`Back to the model's own threshold, ${own.toFixed(2)}`}
        title="The model's own"
        onClick={() => session.setThreshold(own)}
      >
        <Icon name="reset" />
      </button>
      <label for="opacity">Opacity</label>
      <input
        id="opacity"
        type="range"
        min={0}
        max={100}
        step={5}
        value={Math.round(100 * opacity.value)}
        aria-valuetext={`${Math.round(100 * opacity.value)} percent`}
        onInput={(event) => (opacity.value = Number(event.currentTarget.value) / 100)}
      />
      <output for="opacity">{Math.round(100 * opacity.value)} %</output>
    </div>
  );
}
