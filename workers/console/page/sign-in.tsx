/** Asks for the admin token, once a tab. */
import { useState } from "preact/hooks";
import { Wordmark } from "./wordmark.tsx";

interface SignInProps {
  readonly wasRefused: boolean;
  readonly onToken: (token: string) => void;
}

export function SignIn({ wasRefused, onToken }: SignInProps) {
  const [token, setToken] = useState("");
  return (
    <main class="sign-in">
      <Wordmark />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim() !== "") {
            onToken(token.trim());
          }
        }}
      >
        <label for="token">Admin token</label>
        <input
          id="token"
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          value={token}
          aria-describedby="token-note"
          aria-invalid={wasRefused}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        {wasRefused && (
          <p class="wrong" role="alert">
            That token was refused. It is the secret ADMIN_TOKEN of the console Worker.
          </p>
        )}
        <p id="token-note" class="note">
          The secret <code>ADMIN_TOKEN</code> of the console Worker. Locally it stands in{" "}
          <code>.headrace/dev.json</code>, and the link that <code>npm run dev</code> prints signs in by
          itself. This tab forgets it when it is closed.
        </p>
        <button type="submit" class="main">
          Sign in
        </button>
      </form>
    </main>
  );
}
