import { usePage } from "./context";

/** Which model answers, what it knows and under which terms. */
export function ModelCard() {
  const { session } = usePage();
  const about = session.about.value;
  if (!about) return null;
  return (
    <details class="model">
      <summary>
        Model <strong>{about.model}</strong>
      </summary>
      <p>{about.summary}</p>
      {about.notes.length > 0 && (
        <ul>
          {about.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {about.licence && <p>Weights: {about.licence}</p>}
      <p>
        refersat {about.version} · <a href="./assets/licences.txt">licences of this page's parts</a>
      </p>
    </details>
  );
}
