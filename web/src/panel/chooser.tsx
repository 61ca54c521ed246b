import { useRef } from "preact/hooks";
import type { Scene } from "../api/types";
import { bytesWords, count, plural } from "../words";
import { usePage } from "./context";
import { Icon } from "./icons";
import { Thumbnail } from "./thumbnail";

const TYPES = ".png,.jpg,.jpeg,.tif,.tiff,.jp2,.webp,image/png,image/jpeg,image/tiff,image/webp";

/** No scene is open: drop a file, or take one that the server has. */
export function Chooser() {
  const { session } = usePage();
  const input = useRef<HTMLInputElement>(null);
  const scenes = session.scenes.value;
  const limit = session.about.value?.limits.upload_bytes;
  return (
    <section class="chooser" aria-labelledby="choose">
      <h2 id="choose">Choose an image</h2>
      <button type="button" class="dropzone" onClick={() => input.current?.click()}>
        <Icon name="upload" />
        <span>
          <strong>Drop an aerial image</strong> or choose a file
          <small>GeoTIFF, PNG, JPEG{limit ? ` · up to ${bytesWords(limit)}` : ""}</small>
        </span>
      </button>
      <input
        ref={input}
        class="hidden"
        type="file"
        accept={TYPES}
        tabIndex={-1}
        aria-label="Image file"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = ""; // so that the same file can be chosen again
          if (file) void session.upload(file);
        }}
      />
      {scenes.length > 0 && (
        <>
          <h3>On this server</h3>
          <ul class="scenes">
            {scenes.map((scene) => (
              <li key={scene.id}>
                <button type="button" onClick={() => void session.guarded(() => session.open(scene))}>
                  <Thumbnail scene={scene} />
                  <span>
                    <strong>{scene.name}</strong>
                    <small>{sceneWords(scene)}</small>
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

/** The open scene, and the way back to the choice. */
export function SceneCard({ scene }: { scene: Scene }) {
  const { session, stage } = usePage();
  const close = () => {
    session.close();
    setTimeout(() => document.querySelector<HTMLElement>(".dropzone")?.focus()); // the button is gone, the focus goes on
  };
  return (
    <section class="scene-card" aria-label="Open image">
      <button
        type="button"
        class="plain"
        aria-label="Choose another image"
        title="Choose another image"
        onClick={close}
      >
        <Icon name="back" />
      </button>
      <div>
        <h2>{scene.name}</h2>
        <small title={scene.crs ?? "This image does not tell where on the ground it lies."}>{sceneWords(scene)}</small>
      </div>
      <button
        type="button"
        class="plain"
        aria-label="Show the whole image"
        title="Show the whole image"
        onClick={() => stage()?.zoomTo(null)}
      >
        <Icon name="view" />
      </button>
    </section>
  );
}

function sceneWords({ width, height, bands, dtype, gsd, kind }: Scene): string {
  const size = `${count(width)} × ${count(height)} px`;
  const place = kind === "map" && gsd ? ` · ${Number(gsd.toPrecision(2))} m per pixel` : "";
  const depth = bands > 4 || dtype !== "uint8" ? ` · ${plural(bands, "band")}, ${dtype}` : "";
  return size + place + depth;
}
