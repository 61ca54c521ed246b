import { effect } from "@preact/signals";
import { render } from "preact";
import { Client } from "./api/client";
import { App } from "./app";
import { Masks } from "./map/masks";
import { Session } from "./state/session";
import "./style/base.css";
import "./style/panel.css";
import "./style/results.css";
import "./style/stage.css";

const TOKEN = "refersat.token";

function begin(): void {
  const client: Client = new Client(new URL(".", document.baseURI).href, () => session.askForToken());
  client.token = sessionStorage.getItem(TOKEN); // the tab's own: gone when it is closed
  const session = new Session(client, new Masks(client));
  const wanted = decodeURIComponent(location.hash.slice(1)) || null;

  const onToken = (token: string) => {
    sessionStorage.setItem(TOKEN, token);
    session.setToken(token);
    void session.start(wanted);
  };
  render(<App session={session} onToken={onToken} />, document.getElementById("app") as HTMLElement);

  // the address names the open scene, so that a reload and a link come back to it
  let started = false;
  effect(() => {
    const scene = session.scene.value;
    document.title = scene ? `${scene.name} · refersat` : "refersat";
    if (started) history.replaceState(null, "", scene ? `#${encodeURIComponent(scene.id)}` : location.pathname);
  });
  void session.start(wanted).finally(() => {
    started = true;
  });
  window.addEventListener("keydown", (event) => {
    if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      document.getElementById("phrase")?.focus();
    }
  });
}

begin();
