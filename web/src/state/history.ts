const KEY = "refersat.history";
const LENGTH = 12;

/** Phrases that were asked in this browser, the latest first. */
export function readHistory(storage: Storage): string[] {
  try {
    const kept: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((phrase): phrase is string => typeof phrase === "string") : [];
  } catch {
    return []; // somebody else's or broken: begin anew
  }
}

/** The history with these phrases in front of it. */
export function remember(history: readonly string[], phrases: readonly string[]): string[] {
  return [...new Set([...phrases, ...history])].slice(0, LENGTH);
}

export function writeHistory(storage: Storage, history: readonly string[]): void {
  try {
    storage.setItem(KEY, JSON.stringify(history));
  } catch {
    // full or forbidden: the history then lasts as long as the page
  }
}
