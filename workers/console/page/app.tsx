/** Signed in or not, and the page's sections in the order in which an operator needs them. */
import { useState } from "preact/hooks";
import { Overview } from "./overview.tsx";
import { AccessContext } from "./polling.ts";
import { closeSession, keepToken, openSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";

export function App() {
  const [session, setSession] = useState(openSession);
  const [refused, setRefused] = useState(false);

  const signOut = (wasRefused: boolean): void => {
    closeSession();
    setSession({ token: "", key: "" });
    setRefused(wasRefused);
  };
  if (session.token === "") {
    return (
      <SignIn
        wasRefused={refused}
        onToken={(token) => {
          keepToken(token);
          setSession({ token, key: "" });
        }}
      />
    );
  }
  return (
    <AccessContext.Provider value={{ token: session.token, onRefused: () => signOut(true) }}>
      <Overview apiKey={session.key} onSignOut={() => signOut(false)} />
    </AccessContext.Provider>
  );
}
