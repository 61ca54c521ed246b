import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Stage } from "../map/stage";
import type { Session } from "../state/session";

export interface Page {
  session: Session;
  /** The map; null until it is drawn for the first time. */
  stage: () => Stage | null;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("a part of the page outside of it");
  return page;
}
