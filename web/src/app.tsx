import { useEffect, useRef } from "preact/hooks";
import { Readout } from "./map/readout";
import { Stage } from "./map/stage";
import { AreaRow } from "./panel/area";
import { Chooser, SceneCard } from "./panel/chooser";
import { PageContext } from "./panel/context";
import { DropTarget } from "./panel/drop";
import { ModelCard } from "./panel/model";
import { PhraseBox } from "./panel/phrase";
import { Results } from "./panel/results";
import { Notices, TaskList } from "./panel/tasks";
import { TokenDialog } from "./panel/token";
import type { Session } from "./state/session";

export function App({ session, onToken }: { session: Session; onToken: (token: string) => void }) {
  const container = useRef<HTMLDivElement>(null);
  const stage = useRef<Stage | null>(null);
  useEffect(() => {
    if (!container.current) return;
    stage.current = new Stage(container.current, session);
    stage.current.map.addControl(new Readout(session), "bottom-left");
  }, []);
  const scene = session.scene.value;
  return (
    <PageContext.Provider value={{ session, stage: () => stage.current }}>
      <aside class="panel" aria-label="Questions and answers">
        <header>
          <Logo />
          <h1>refersat</h1>
        </header>
        <div class="scroll">
          {scene ? (
            <>
              <SceneCard scene={scene} />
              <PhraseBox key={scene.id} />
              <AreaRow />
            </>
          ) : null}
          <TaskList />
          <Notices />
          {scene ? <Results /> : <Chooser />}
        </div>
        <footer>
          <ModelCard />
        </footer>
      </aside>
      <main class="stage" aria-label="Image">
        <div ref={container} class="map" />
        {!scene && (
          <div class="empty">
            <Logo />
            <p>Say what you mean in an aerial image.</p>
            <p>Drop one here, type a phrase, and take the polygons away.</p>
          </div>
        )}
      </main>
      <DropTarget />
      <TokenDialog onToken={onToken} />
      <p class="hidden" role="status">
        {session.status.value}
      </p>
    </PageContext.Provider>
  );
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 19.5 14 8.5l9.5 4-2.5 10.5z" />
    </svg>
  );
}
