import { beforeEach, describe, expect, it } from "vitest";
import type { Answer, Objects, Result } from "../src/api/types";
import { css, freeColour } from "../src/state/colours";
import { readHistory, remember, writeHistory } from "../src/state/history";
import { dropAnswer, keepAnswer, keptAnswers } from "../src/state/kept";
import { layerOf, linkAt, measure } from "../src/state/layer";
import { Tasks, wasCancelled } from "../src/state/tasks";

let storage: Storage;

beforeEach(() => {
  const kept = new Map<string, string>();
  storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  } as unknown as Storage;
});

describe("the history", () => {
  it("has the latest phrase first, once, and an end", () => {
    const history = remember(["a", "b"], ["b", "c"]);
    expect(history).toEqual(["b", "c", "a"]);
    expect(
      remember(
        Array.from({ length: 40 }, (_, i) => `${i}`),
        ["x"],
      ),
    ).toHaveLength(12);
  });

  it("survives a reload, and what others wrote", () => {
    writeHistory(storage, ["a"]);
    expect(readHistory(storage)).toEqual(["a"]);
    storage.setItem("refersat.history", "{broken");
    expect(readHistory(storage)).toEqual([]);
  });
});

it("keeps answers of each scene apart", () => {
  keepAnswer(storage, "one", { id: "r1", job: false });
  keepAnswer(storage, "two", { id: "j1", job: true });
  keepAnswer(storage, "one", { id: "r2", job: false });
  dropAnswer(storage, "one", "r1");
  expect(keptAnswers(storage, "one")).toEqual([{ id: "r2", job: false }]);
  expect(keptAnswers(storage, "two")).toEqual([{ id: "j1", job: true }]);
});

it("gives every layer another colour, as long as there are some", () => {
  const used = Array.from({ length: 8 }).reduce<ReturnType<typeof freeColour>[]>(
    (all) => [...all, freeColour(all)],
    [],
  );
  expect(new Set(used.map(css)).size).toBe(8);
});

describe("what a layer covers", () => {
  const answer = { number: 1, found: true, area: 50, area_unit: "m2", objects: 2 } as Answer;
  const base = layerOf({ id: "r", threshold: 0.5 } as Result, answer, [1, 2, 3]);
  const histogram = new Uint32Array(256);
  histogram[100] = 10;
  histogram[200] = 20;

  it("is what the service said, at the model's own threshold", () => {
    expect(measure(base, 0.5)).toEqual({ area: 50, objects: 2, exact: true });
  });

  it("is reckoned from the histogram while the slider moves", () => {
    expect(measure({ ...base, histogram }, 0.2)).toEqual({ area: 75, objects: null, exact: false });
    expect(measure({ ...base, histogram }, 0.9)).toEqual({ area: 0, objects: null, exact: false });
  });

  it("is what the service counts when the slider rests", () => {
    const features = [30, 41].map((area) => ({ properties: { area_m2: area } }));
    const outlined = { threshold: 0.2, objects: { features } as unknown as Objects };
    expect(measure({ ...base, histogram, outlined }, 0.2)).toEqual({ area: 71, objects: 2, exact: true });
  });

  it("is counted in the pixels of a plain image", () => {
    const plain = { ...base, histogram, answer: { ...answer, area: 20, area_unit: "px" as const } };
    expect(measure(plain, 0.2)).toEqual({ area: 30, objects: null, exact: true });
  });

  it("is nothing where nothing was found", () => {
    const absent = { ...base, answer: { ...answer, found: false } };
    expect(measure(absent, 0.1)).toEqual({ area: 0, objects: 0, exact: true });
  });

  it("downloads as the slider stands", () => {
    expect(linkAt(base, "/x.png", 0.5)).toBe("/x.png");
    expect(linkAt(base, "/x.png?side=9", 0.37)).toBe("/x.png?side=9&threshold=0.37");
  });
});

describe("tasks", () => {
  const forever = (signal: AbortSignal) =>
    new Promise<() => void>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

  it("tell their progress and end", async () => {
    const tasks = new Tasks();
    const seen: unknown[] = [];
    await tasks.run("t", "begins", async (_, tell) => {
      seen.push(tasks.running.value[0]?.message);
      tell("half", 50);
      seen.push(tasks.running.value[0]?.progress);
      return () => seen.push(tasks.running.value.length);
    });
    expect(seen).toEqual(["begins", 50, 0]);
  });

  it("know a cancel from a leave", async () => {
    for (const [stop, cancelled] of [
      ["cancel", true],
      ["leave", false],
    ] as const) {
      const tasks = new Tasks();
      let signal: AbortSignal | undefined;
      const run = tasks.run("t", "m", (given) => {
        signal = given;
        return forever(given);
      });
      tasks.running.value[0]?.[stop]();
      await expect(run).rejects.toThrow();
      expect(signal && wasCancelled(signal)).toBe(cancelled);
      expect(tasks.running.value).toHaveLength(0);
    }
  });
});
