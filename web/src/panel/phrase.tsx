import { useEffect, useRef, useState } from "preact/hooks";
import { usePage } from "./context";
import { Icon } from "./icons";

const CHIPS = 4;
const LISTED = 8;

/** Where one says what to look for: a box with a list of earlier phrases and examples under it. */
export function PhraseBox() {
  const { session } = usePage();
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // whoever opened an image types next; on a touch screen the keyboard would cover it
    if (window.matchMedia("(pointer: fine)").matches) input.current?.focus();
  }, []);
  const examples = session.about.value?.examples ?? [];
  const wanted = text.trim().toLowerCase();
  const listed = [...new Set([...session.history.value, ...examples])]
    .filter((phrase) => phrase.toLowerCase().includes(wanted) && phrase.toLowerCase() !== wanted)
    .slice(0, LISTED);
  const shown = open && listed.length > 0;

  const ask = (phrase: string) => {
    if (!phrase.trim()) {
      input.current?.focus();
      return;
    }
    setText("");
    setOpen(false);
    setActive(-1);
    void session.ask(phrase);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      setActive((active + step + listed.length + 1) % (listed.length + 1));
    } else if (event.key === "Escape") {
      if (!shown) setText("");
      setOpen(false);
      setActive(-1);
    }
  };

  const chosen = shown ? listed[active] : undefined;
  return (
    <section class="phrase" aria-label="Phrase">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          ask(chosen ?? text);
        }}
      >
        <label for="phrase">What are you looking for?</label>
        <div class="field">
          <input
            id="phrase"
            ref={input}
            type="text"
            role="combobox"
            autocomplete="off"
            spellcheck={false}
            maxLength={500}
            placeholder="the ship on the left"
            aria-expanded={shown}
            aria-controls="phrases"
            aria-autocomplete="list"
            aria-activedescendant={chosen === undefined ? undefined : `phrase-${active}`}
            aria-describedby="phrase-hint"
            value={text}
            onInput={(event) => {
              setText(event.currentTarget.value);
              setActive(-1);
              setOpen(true);
            }}
            onClick={() => setOpen(true)}
            onBlur={() => setOpen(false)}
            onKeyDown={onKeyDown}
          />
          <button type="submit" class="primary" aria-label="Find it" title="Find it (Enter)">
            <Icon name="ask" />
          </button>
          <div id="phrases" role="listbox" aria-label="Earlier phrases and examples" hidden={!shown}>
            {listed.map((phrase, index) => (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the box above has the keys
              // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the box
              <div
                key={phrase}
                id={`phrase-${index}`}
                role="option"
                aria-selected={index === active}
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => ask(phrase)}
              >
                {phrase}
                {session.history.value.includes(phrase) && <small>earlier</small>}
              </div>
            ))}
          </div>
        </div>
      </form>
      <p id="phrase-hint" class="hint">
        In English. Several at once: part them with a semicolon.
      </p>
      {session.layers.value.length === 0 && (
        <ul class="chips" aria-label="Examples">
          {examples.slice(0, CHIPS).map((phrase) => (
            <li key={phrase}>
              <button type="button" onClick={() => ask(phrase)}>
                {phrase}
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
