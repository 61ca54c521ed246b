import { useEffect, useRef } from "preact/hooks";
import { usePage } from "./context";

/** Asks for the token where the server wants one. */
export function TokenDialog({ onToken }: { onToken: (token: string) => void }) {
  const { session } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const wanted = session.tokenWanted.value;
  useEffect(() => {
    if (wanted && !dialog.current?.open) dialog.current?.showModal();
    if (!wanted) dialog.current?.close();
  }, [wanted]);
  return (
    <dialog ref={dialog} aria-labelledby="token-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const token = new FormData(event.currentTarget).get("token");
          if (typeof token === "string" && token.trim()) onToken(token.trim());
        }}
      >
        <h2 id="token-title">This server asks for a token</h2>
        <p>
          Whoever runs it has one for you: it stands behind “--token” or in the variable that the server was started
          with.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          name="token"
          type="password"
          autocomplete="current-password"
          required
          aria-describedby="token-problem"
        />
        <p id="token-problem" class="problem" role="alert">
          {wanted === "other" ? "The server does not know this token. Try another one." : ""}
        </p>
        <button type="submit" class="primary wide">
          Continue
        </button>
      </form>
    </dialog>
  );
}
