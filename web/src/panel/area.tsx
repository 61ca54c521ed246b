import { usePage } from "./context";
import { Icon } from "./icons";

/** Where to look: everywhere, in a drawn area, or in what the map shows. */
export function AreaRow() {
  const { session, stage } = usePage();
  const { area, drawing } = session;
  if (drawing.value) {
    return (
      <section class="area" aria-label="Area of interest">
        <p>Drag a rectangle, or click corners and press Enter.</p>
        <button type="button" onClick={() => (drawing.value = false)}>
          Cancel
        </button>
      </section>
    );
  }
  if (area.value) {
    return (
      <section class="area" aria-label="Area of interest">
        <p>
          <Icon name="area" /> Looks only in the marked area.
        </p>
        <button type="button" onClick={() => (area.value = null)}>
          Look everywhere
        </button>
      </section>
    );
  }
  return (
    <section class="area" aria-label="Area of interest">
      <button type="button" class="quiet" onClick={() => (drawing.value = true)}>
        <Icon name="area" /> Draw an area
      </button>
      <button type="button" class="quiet" onClick={() => (area.value = stage()?.visibleArea() ?? null)}>
        <Icon name="view" /> Look in this view
      </button>
    </section>
  );
}
