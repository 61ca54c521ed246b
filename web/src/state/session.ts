import { signal } from "@preact/signals";
import { type Client, pause } from "../api/client";
import { isAbort, wordsOf } from "../api/problem";
import type { About, Area, Job, Objects, Result, Scene } from "../api/types";
import { histogramOf } from "../map/grey";
import type { Masks } from "../map/masks";
import { areaWords, bytesWords, phrasesIn, plural } from "../words";
import { freeColour } from "./colours";
import { readHistory, remember, writeHistory } from "./history";
import { dropAnswer, type KeptAnswer, keepAnswer, keptAnswers } from "./kept";
import { type Layer, layerOf, linkAt } from "./layer";
import { type Task, Tasks, type Tell, type Work, wasCancelled } from "./tasks";

export interface Notice {
  readonly id: number;
  readonly tone: "error" | "info";
  readonly text: string;
}

const POLL = 700; // ms
const SETTLE = 300; // ms that the slider must rest before the service counts anew
const HISTOGRAM_SIDE = 2048; // the size that the masks of plain images have, too: fetched once

/** All that the page knows, and what can be done with it. */
export class Session {
  readonly about = signal<About | null>(null);
  readonly scenes = signal<readonly Scene[]>([]);
  readonly scene = signal<Scene | null>(null);
  readonly layers = signal<readonly Layer[]>([]);
  readonly selected = signal<string | null>(null);
  readonly tasks = new Tasks();
  readonly notices = signal<readonly Notice[]>([]);
  /** Said by screen readers. */
  readonly status = signal("");
  readonly opacity = signal(0.5);
  readonly threshold = signal(0.5);
  /** In the scene's coordinates. */
  readonly area = signal<Area | null>(null);
  readonly drawing = signal(false);
  readonly history = signal<readonly string[]>([]);
  /** Whether to ask the user for a token: the server wants one, or refused the one we have. */
  readonly tokenWanted = signal<"first" | "other" | null>(null);

  private serial = 0;
  private settling: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly client: Client,
    readonly masks: Masks,
  ) {
    this.history.value = readHistory(localStorage);
  }

  /** Ask the service what there is; `wanted` is the scene to begin with. */
  async start(wanted: string | null): Promise<void> {
    await this.guarded(async () => {
      const about = await this.client.about();
      this.about.value = about;
      this.threshold.value = about.threshold;
      if (about.token_required && !this.client.token) {
        this.askForToken();
        return;
      }
      this.scenes.value = await this.client.scenes();
      const found = this.scenes.value.find(({ id }) => id === wanted);
      if (found) await this.open(found);
    });
  }

  async open(scene: Scene): Promise<void> {
    this.close();
    this.scene.value = scene;
    this.say(`${scene.name} is open.`);
    await Promise.all(keptAnswers(sessionStorage, scene.id).map((answer) => this.restore(scene, answer)));
  }

  close(): void {
    this.tasks.leaveAll();
    this.scene.value = null;
    this.layers.value = [];
    this.selected.value = null;
    this.area.value = null;
    this.drawing.value = false;
    this.notices.value = [];
  }

  async upload(file: File): Promise<void> {
    const limit = this.about.value?.limits.upload_bytes;
    if (limit && file.size > limit) {
      this.complain(`${file.name} has ${bytesWords(file.size)}; this server takes at most ${bytesWords(limit)}.`);
      return;
    }
    await this.task(file.name, "uploading", async (signal, tell) => {
      const scene = await this.client.upload(file, signal, (share) =>
        tell(share < 1 ? "uploading" : "reading the image", share < 1 ? 100 * share : null),
      );
      this.scenes.value = [scene, ...this.scenes.value.filter(({ id }) => id !== scene.id)];
      return () => this.open(scene);
    });
  }

  async ask(text: string): Promise<void> {
    const scene = this.scene.value;
    const phrases = phrasesIn(text);
    if (!scene || !phrases.length) return;
    const most = this.about.value?.limits.phrases ?? phrases.length;
    if (phrases.length > most) {
      this.complain(`These are ${phrases.length} phrases; the server takes ${most} at once.`);
      return;
    }
    this.history.value = remember(this.history.value, phrases);
    writeHistory(localStorage, this.history.value);
    const question = { scene, phrases, area: this.area.value };
    await this.task(phrases.join("; "), "looking", async (signal, tell) => {
      if (scene.run === "segment") {
        const result = await this.client.segment(question, signal);
        return () => this.show(scene, result, false);
      }
      const job = await this.client.execute(question, signal);
      keepAnswer(sessionStorage, scene.id, { id: job.jobID, job: true });
      return this.follow(scene, job, signal, tell);
    });
  }

  remove(layer: Layer): void {
    this.layers.value = this.layers.value.filter(({ key }) => key !== layer.key);
    if (this.selected.value === layer.key) this.selected.value = null;
    const scene = this.scene.value;
    if (scene && this.layers.value.every(({ result }) => result !== layer.result)) {
      dropAnswer(sessionStorage, scene.id, layer.result);
    }
    this.say(`${layer.answer.phrase}: removed.`);
  }

  toggle(layer: Layer): void {
    this.change(layer.key, { visible: !layer.visible });
  }

  setThreshold(threshold: number): void {
    this.threshold.value = threshold;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => void this.outlineAll(), SETTLE);
  }

  setToken(token: string): void {
    this.client.token = token;
    this.tokenWanted.value = null;
    this.notices.value = [];
  }

  askForToken(): void {
    this.tokenWanted.value = this.client.token ? "other" : "first";
  }

  cancel(task: Task): void {
    task.cancel();
    this.say(`${task.title}: cancelled.`);
  }

  complain(text: string): void {
    this.notice("error", text);
  }

  dismissNotice(notice: Notice): void {
    this.notices.value = this.notices.value.filter(({ id }) => id !== notice.id);
  }

  say(text: string): void {
    this.status.value = text;
  }

  /** Do something, and tell in words what went wrong. */
  async guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isAbort(error) && !this.tokenWanted.value) this.complain(wordsOf(error));
    }
  }

  /** Run a task that the user began. */
  private async task(title: string, message: string, work: Work): Promise<void> {
    this.notices.value = [];
    this.say(`${title}: ${message}.`);
    await this.guarded(() => this.tasks.run(title, message, work));
  }

  /** Follow a job until it ends; a cancelled one is dismissed on the server, too. */
  private async follow(scene: Scene, job: Job, signal: AbortSignal, tell: Tell): Promise<() => unknown> {
    try {
      while (job.status === "accepted" || job.status === "running") {
        tell(job.message, job.status === "running" ? job.progress : null);
        await pause(POLL, signal);
        job = await this.client.job(job.jobID, signal);
      }
    } catch (error) {
      if (wasCancelled(signal)) {
        dropAnswer(sessionStorage, scene.id, job.jobID);
        await this.client.dismiss(job.jobID);
      }
      throw error;
    }
    if (job.status === "successful") {
      const result = await this.client.result(job.jobID);
      return () => this.show(scene, result, true);
    }
    dropAnswer(sessionStorage, scene.id, job.jobID);
    if (job.status === "failed") throw new Error(job.message);
    return () => this.notice("info", `${job.inputs.phrases.join("; ")}: was cancelled elsewhere.`);
  }

  private async restore(scene: Scene, { id, job }: KeptAnswer): Promise<void> {
    try {
      const status = job ? await this.client.job(id) : null;
      if (status && status.status !== "successful") {
        const title = status.inputs.phrases.join("; ");
        await this.task(title, status.message, (signal, tell) => this.follow(scene, status, signal, tell));
      } else {
        this.show(scene, await this.client.result(id), job);
      }
    } catch {
      dropAnswer(sessionStorage, scene.id, id); // the server no longer has it, and nobody asked for it just now
    }
  }

  private show(scene: Scene, result: Result, job: boolean): void {
    if (this.scene.value?.id !== scene.id) return;
    const layers = [...this.layers.value];
    for (const answer of result.answers) {
      const layer = layerOf(result, answer, freeColour(layers.filter((l) => l.answer.found).map((l) => l.colour)));
      if (!layers.some(({ key }) => key === layer.key)) layers.push(layer);
    }
    this.layers.value = layers;
    keepAnswer(sessionStorage, scene.id, { id: result.id, job });
    this.say(result.answers.map(answerWords).join(" "));
    for (const text of result.messages) this.notice("info", text);
    if (result.answers.every(({ found }) => !found)) this.notice("info", absentWords(result));
    for (const { number } of result.answers) void this.outline(`${result.id}-${number}`);
    for (const { number } of result.answers) void this.tally(`${result.id}-${number}`);
  }

  private async outlineAll(): Promise<void> {
    await Promise.all(this.layers.value.map(({ key }) => this.outline(key)));
  }

  /** Have the service count and outline a layer's objects at the slider's threshold. */
  private async outline(key: string): Promise<void> {
    const threshold = this.threshold.value;
    const layer = this.layers.value.find((one) => one.key === key);
    if (!layer?.answer.found || layer.outlined?.threshold === threshold) return;
    await this.guarded(async () => {
      const objects = await this.client.json<Objects>(linkAt(layer, layer.answer.links.geojson, threshold));
      if (this.threshold.value === threshold) this.change(key, { outlined: { threshold, objects } });
    });
  }

  private async tally(key: string): Promise<void> {
    const layer = this.layers.value.find((one) => one.key === key);
    if (!layer?.answer.found) return;
    await this.guarded(async () => {
      const grey = await this.masks.grey(probabilityPicture(layer));
      this.change(key, { histogram: histogramOf(grey) });
    });
  }

  private change(key: string, what: Partial<Layer>): void {
    this.layers.value = this.layers.value.map((layer) => (layer.key === key ? { ...layer, ...what } : layer));
  }

  private notice(tone: Notice["tone"], text: string): void {
    if (this.notices.value.some((notice) => notice.text === text)) return;
    this.notices.value = [...this.notices.value, { id: ++this.serial, tone, text }];
  }
}

/** The address of the probability of a whole layer, not larger than a screen needs. */
export function probabilityPicture(layer: Layer): string {
  return `${layer.answer.links.probability}?side=${HISTOGRAM_SIDE}`;
}

function absentWords({ answers, area }: Result): string {
  const phrases = answers.map(({ phrase }) => `“${phrase}”`).join(", ");
  return `Nothing found for ${phrases}. Try other words${area ? ", or look everywhere" : ""}.`;
}

function answerWords({ phrase, found, objects, area, area_unit }: Result["answers"][number]): string {
  if (!found) return `${phrase}: nothing found.`;
  return `${phrase}: ${plural(objects, "object")}, ${areaWords(area, area_unit)}.`;
}
