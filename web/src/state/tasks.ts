import { signal } from "@preact/signals";

/** Something that takes a while: an upload, a question, a job. */
export interface Task {
  readonly id: number;
  readonly title: string;
  readonly message: string;
  /** Percent; null where nobody knows. */
  readonly progress: number | null;
  /** Stop it. */
  readonly cancel: () => void;
  /** Stop looking at it: what runs on the server goes on there. */
  readonly leave: () => void;
}

export type Tell = (message: string, progress: number | null) => void;
/** Does the task; what it gives is called when the task has ended and nobody stopped it. */
export type Work = (signal: AbortSignal, tell: Tell) => Promise<() => unknown>;

const LEFT = new DOMException("left", "AbortError");
const CANCELLED = new DOMException("cancelled", "AbortError");

export function wasCancelled(abort: AbortSignal): boolean {
  return abort.reason === CANCELLED;
}

export class Tasks {
  readonly running = signal<readonly Task[]>([]);
  private serial = 0;

  /** Run a task to its end. Throws what it throws; an AbortError when it was stopped. */
  async run(title: string, message: string, work: Work): Promise<void> {
    const abort = new AbortController();
    const id = ++this.serial;
    const task = {
      id,
      title,
      message,
      progress: null,
      cancel: () => abort.abort(CANCELLED),
      leave: () => abort.abort(LEFT),
    };
    this.running.value = [...this.running.value, task];
    let done: () => unknown;
    try {
      done = await work(abort.signal, (words, progress) => this.change(id, { message: words, progress }));
    } finally {
      this.running.value = this.running.value.filter((one) => one.id !== id);
    }
    abort.signal.throwIfAborted();
    await done();
  }

  leaveAll(): void {
    for (const task of this.running.value) task.leave();
  }

  private change(id: number, what: Partial<Task>): void {
    this.running.value = this.running.value.map((task) => (task.id === id ? { ...task, ...what } : task));
  }
}
