import { useEffect, useState } from "preact/hooks";
import type { Scene } from "../api/types";
import { usePage } from "./context";

const SIDE = 96; // twice what is shown, for fine screens

/** A small picture of a scene. It is fetched, as an `img` could not send the token. */
export function Thumbnail({ scene }: { scene: Scene }) {
  const { session } = usePage();
  const [source, setSource] = useState<string | null>(null);
  useEffect(() => {
    let address: string | null = null;
    let gone = false;
    session.client
      .fetch(`${scene.picture}?side=${SIDE}`)
      .then((response) => response.blob())
      .then((blob) => {
        if (gone) return;
        address = URL.createObjectURL(blob);
        setSource(address);
      })
      .catch(() => setSource(null)); // the name beside it says enough
    return () => {
      gone = true;
      if (address) URL.revokeObjectURL(address);
    };
  }, [scene.id]);
  return source ? <img class="thumbnail" src={source} alt="" /> : <span class="thumbnail" />;
}
