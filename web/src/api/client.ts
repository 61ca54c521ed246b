import { Problem, problemOf, unreachable } from "./problem";
import type { About, Area, Job, Result, Scene } from "./types";

export interface Question {
  scene: Scene;
  phrases: string[];
  area: Area | null;
}

const BUSY_TRIES = 5;

/** The service's API. Every method throws a `Problem`; aborted ones throw an AbortError. */
export class Client {
  token: string | null = null;

  constructor(
    /** Where the service is: the page's own folder. */
    readonly root: string,
    /** Told whenever the service wants a token, or another one. */
    private readonly onUnauthorized: () => void,
  ) {}

  /** An address of ours, from a link as the service gives it. */
  url(path: string): string {
    return new URL(path, this.root).href;
  }

  headers(): Record<string, string> {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  about(): Promise<About> {
    return this.json("v1/about");
  }

  async scenes(): Promise<Scene[]> {
    return (await this.json<{ scenes: Scene[] }>("v1/scenes")).scenes;
  }

  scene(id: string): Promise<Scene> {
    return this.json(`v1/scenes/${encodeURIComponent(id)}`);
  }

  /** Upload a file; `onProgress` hears the share that is sent. `fetch` cannot tell it, hence the older interface. */
  upload(file: File, signal: AbortSignal, onProgress: (share: number) => void): Promise<Scene> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.url("v1/scenes"));
      for (const [name, value] of Object.entries(this.headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
      request.onload = () => {
        if (request.status < 400) return resolve(JSON.parse(request.responseText) as Scene);
        if (request.status === 401) this.onUnauthorized();
        reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      };
      request.onerror = () => reject(unreachable());
      request.onabort = () => reject(signal.reason);
      signal.addEventListener("abort", () => request.abort());
      const form = new FormData();
      form.append("file", file);
      request.send(form);
    });
  }

  async forget(scene: Scene): Promise<void> {
    await this.fetch(`v1/scenes/${encodeURIComponent(scene.id)}`, { method: "DELETE" });
  }

  /** Ask and wait for the answer. */
  segment({ scene, phrases, area }: Question, signal: AbortSignal): Promise<Result> {
    const form = new FormData();
    form.append("scene", scene.id);
    form.append("keep", "true");
    for (const phrase of phrases) form.append("phrases", phrase);
    if (area) form.append("area", JSON.stringify(area));
    return this.json("v1/segment", { method: "POST", body: form, signal });
  }

  /** Ask, and get a job that works on it. */
  execute({ scene, phrases, area }: Question, signal: AbortSignal): Promise<Job> {
    const inputs = { scene: scene.id, phrases, ...(area ? { area } : {}) };
    return this.json("processes/segment/execution", {
      method: "POST",
      headers: { "Content-Type": "application/json", Prefer: "respond-async" },
      body: JSON.stringify({ inputs }),
      signal,
    });
  }

  job(id: string, signal?: AbortSignal): Promise<Job> {
    return this.json(`jobs/${encodeURIComponent(id)}`, signal ? { signal } : {});
  }

  async jobs(): Promise<Job[]> {
    return (await this.json<{ jobs: Job[] }>("jobs")).jobs;
  }

  async dismiss(id: string): Promise<void> {
    await this.fetch(`jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  result(id: string): Promise<Result> {
    return this.json(`v1/results/${encodeURIComponent(id)}`);
  }

  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.fetch(path, init)).json()) as T;
  }

  /** Fetch with our token; a busy server is asked again a few times, when it says. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.once(path, init);
      } catch (error) {
        const wait = error instanceof Problem && error.status === 503 ? error.retryAfter : null;
        if (wait === null || tries === BUSY_TRIES) throw error;
        await pause(wait * 1000, init.signal ?? null);
      }
    }
  }

  private async once(path: string, init: RequestInit): Promise<Response> {
    const response = await fetch(this.url(path), { ...init, headers: { ...init.headers, ...this.headers() } }).catch(
      (error: unknown) => {
        throw error instanceof TypeError ? unreachable() : error;
      },
    );
    if (response.ok) return response;
    if (response.status === 401) this.onUnauthorized();
    throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
  }
}

/** Wait, unless called off. */
export function pause(milliseconds: number, signal: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
