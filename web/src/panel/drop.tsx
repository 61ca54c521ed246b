import { useEffect, useState } from "preact/hooks";
import { usePage } from "./context";

/** Files may be dropped anywhere on the page. */
export function DropTarget() {
  const { session } = usePage();
  const [over, setOver] = useState(false);
  useEffect(() => {
    const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const onOver = (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      setOver(false);
      const [file, ...more] = event.dataTransfer?.files ?? [];
      if (more.length) session.complain("One image at a time, please: the first one was taken.");
      if (file) void session.upload(file);
    };
    window.addEventListener("dragover", onOver);
    window.addEventListener("dragleave", onLeave);
    window.addEventListener("drop", onDrop);
    return () => {
      window.removeEventListener("dragover", onOver);
      window.removeEventListener("dragleave", onLeave);
      window.removeEventListener("drop", onDrop);
    };
  }, []);
  return over ? (
    <div class="drop-here" aria-hidden="true">
      <p>Drop the image to open it</p>
    </div>
  ) : null;
}
