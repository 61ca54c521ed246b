import type { Task } from "../state/tasks";
import { usePage } from "./context";
import { Icon } from "./icons";

/** What runs now, each with its progress and a way to stop it. */
export function TaskList() {
  const { session } = usePage();
  const running = session.tasks.running.value;
  if (!running.length) return null;
  return (
    <section class="tasks" aria-label="In progress">
      {running.map((task) => (
        <TaskCard key={task.id} task={task} onCancel={() => session.cancel(task)} />
      ))}
    </section>
  );
}

function TaskCard({ task, onCancel }: { task: Task; onCancel: () => void }) {
  const { title, message, progress } = task;
  const percent = progress === null ? null : Math.round(progress);
  return (
    <div class="task">
      <p>
        <strong>{title}</strong>
        <small>
          {message}
          {percent === null ? " …" : ` · ${percent} %`}
        </small>
      </p>
      <button type="button" onClick={onCancel} aria-label={`Cancel: ${title}`}>
        Cancel
      </button>
      <progress max={100} {...(percent === null ? {} : { value: percent })} aria-label={`Progress: ${title}`} />
    </div>
  );
}

/** What went wrong, and what else there is to say. */
export function Notices() {
  const { session } = usePage();
  return (
    <div class="notices" role="alert">
      {session.notices.value.map((notice) => (
        <div key={notice.id} class={`notice ${notice.tone}`}>
          <p>{notice.text}</p>
          <button
            type="button"
            class="plain"
            aria-label="Close this message"
            onClick={() => session.dismissNotice(notice)}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
