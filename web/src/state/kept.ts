/** What a reload of the page brings back: the answers about each scene. The service keeps them; the tab keeps their names. */
export interface KeptAnswer {
  id: string;
  /** Whether a job gives it, which may still be running. */
  job: boolean;
}

const key = (scene: string) => `refersat.answers.${scene}`;

export function keptAnswers(storage: Storage, scene: string): KeptAnswer[] {
  try {
    return JSON.parse(storage.getItem(key(scene)) ?? "[]") as KeptAnswer[];
  } catch {
    return [];
  }
}

export function keepAnswer(storage: Storage, scene: string, answer: KeptAnswer): void {
  write(storage, scene, [...keptAnswers(storage, scene).filter(({ id }) => id !== answer.id), answer]);
}

export function dropAnswer(storage: Storage, scene: string, answer: string): void {
  write(
    storage,
    scene,
    keptAnswers(storage, scene).filter(({ id }) => id !== answer),
  );
}

function write(storage: Storage, scene: string, answers: readonly KeptAnswer[]): void {
  try {
    storage.setItem(key(scene), JSON.stringify(answers));
  } catch {
    // full or forbidden: then a reload begins anew
  }
}
