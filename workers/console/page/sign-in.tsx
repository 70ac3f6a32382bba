/** Asks for the admin token, once a tab. */
import { Wordmark } from "./wordmark.tsx";

interface SignInProps {
  readonly wasRefused: boolean;
  readonly onToken: (token: string) => void;
}

export function SignIn({ wasRefused, onToken }: SignInProps) {
  return (
    <main class="sign-in">
      <Wordmark />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const token = String(new FormData(event.currentTarget).get("token") ?? "").trim();
          if (token !== "") {
            onToken(token);
          }
        }}
      >
        <label for="token">Admin token</label>
        <input
          id="token"
          name="token"
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          aria-describedby="token-note"
          aria-invalid={wasRefused}
        />
        {wasRefused && (
          <p class="wrong" role="alert">
            That token was refused. It is the secret ADMIN_TOKEN of the console Worker.
          </p>
        )}
        <p id="token-note" class="note">
          The secret <code>ADMIN_TOKEN</code> of the console Worker. Locally it is in{" "}
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
