import { useState } from "preact/hooks";
import type { Objects } from "../api/types";
import { type Layer, linkAt } from "../state/layer";
import { usePage } from "./context";
import { Icon } from "./icons";

const KINDS = [
  { link: "geojson", title: "GeoJSON", what: "polygons in degrees (in pixels for a plain image)" },
  { link: "gpkg", title: "GeoPackage", what: "polygons in the image's own coordinates" },
  { link: "mask", title: "GeoTIFF", what: "the mask as a Cloud Optimized GeoTIFF" },
  { link: "overlay", title: "PNG", what: "the image with the mask on it" },
] as const;

/** Takes away one phrase's answer, as the slider stands. */
export function Downloads({ layer }: { layer: Layer }) {
  const { session } = usePage();
  const [loading, setLoading] = useState<string | null>(null);
  const { client, threshold } = session;

  // With a token, the browser cannot follow the link by itself: the page fetches the file and hands it over.
  const fetchFile = async (path: string, title: string) => {
    setLoading(title);
    await session.guarded(async () => {
      const response = await client.fetch(path);
      const name = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
      save(await response.blob(), name ?? "refersat");
    });
    setLoading(null);
  };

  return (
    <ul class="downloads" aria-label={`Download ${layer.answer.phrase}`}>
      <li aria-hidden="true">
        <Icon name="download" />
      </li>
      {KINDS.map(({ link, title, what }) => {
        const path = linkAt(layer, layer.answer.links[link], threshold.value);
        return (
          <li key={link}>
            <a
              href={client.url(path)}
              download
              title={what}
              aria-busy={loading === title}
              onClick={(event) => {
                if (!client.token) return;
                event.preventDefault();
                void fetchFile(path, title);
              }}
            >
              {title}
            </a>
          </li>
        );
      })}
    </ul>
  );
}

/** One GeoJSON of all phrases that are shown. */
export function DownloadAll({ layers }: { layers: readonly Layer[] }) {
  const ready = layers.filter(({ visible, outlined }) => visible && outlined);
  if (ready.length < 2) return null;
  const download = () => {
    const features = ready.flatMap(({ outlined }) => outlined?.objects.features ?? []);
    const all: Objects = { ...ready[0]?.outlined?.objects, type: "FeatureCollection", features };
    save(new Blob([JSON.stringify(all)], { type: "application/geo+json" }), "answers.geojson");
  };
  return (
    <button type="button" class="quiet all" onClick={download}>
      <Icon name="download" /> All shown phrases as one GeoJSON
    </button>
  );
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
