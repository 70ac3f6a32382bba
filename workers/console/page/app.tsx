/** Signed in or not. */
import { useState } from "preact/hooks";
import { Overview } from "./overview.tsx";
import { AccessContext } from "./polling.ts";
import { forgetToken, keepToken, openSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";

export function App() {
  const [session, setSession] = useState(openSession);
  const [wasRefused, setRefused] = useState(false);
  const { token, key } = session;

  /** Ends the session of this token; an answer to an earlier one may come late, and ends nothing. */
  const leave = (): void => {
    forgetToken(token);
    setSession((present) => (present.token === token ? { token: "", key: "" } : present));
  };
  if (token === "") {
    return (
      <SignIn
        wasRefused={wasRefused}
        onToken={(given) => {
          keepToken(given);
          setSession({ token: given, key: "" });
        }}
      />
    );
  }
  const onRefused = (): void => {
    leave();
    setRefused(true);
  };
  const onSignOut = (): void => {
    leave();
    setRefused(false);
  };
  return (
    <AccessContext.Provider value={{ token, onRefused }}>
      <Overview apiKey={key} onSignOut={onSignOut} />
    </AccessContext.Provider>
  );
}
