/** Signed in or not, and which place of the page is looked at. */
import { useState } from "preact/hooks";
import type { Route } from "../../../shared/console/page-routes.ts";
import { AccessContext } from "./answer.ts";
import { KeysPage } from "./keys/keys-page.tsx";
import { Overview } from "./overview.tsx";
import { useRoute } from "./route.ts";
import { forgetToken, keepToken, openSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";
import { Top } from "./top.tsx";
import { TracePage } from "./traces/trace-page.tsx";
import { TracesPage } from "./traces/traces-page.tsx";

export function App() {
  const [session, setSession] = useState(openSession);
  const [wasRefused, setRefused] = useState(false);
  const { token, key } = session;
  const route = useRoute();

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
      <Place route={route} apiKey={key} onSignOut={onSignOut} />
    </AccessContext.Provider>
  );
}

interface PlaceProps {
  readonly route: Route;
  readonly apiKey: string;
  readonly onSignOut: () => void;
}

function Place({ route, apiKey, onSignOut }: PlaceProps) {
  switch (route.page) {
    case "overview":
      return <Overview apiKey={apiKey} onSignOut={onSignOut} />;
    case "traces":
      return <TracesPage search={route.search} apiKey={apiKey} />;
    case "trace":
      return (
        <TracePage
          key={`${route.trace} ${route.tenant}`}
          trace={route.trace}
          span={route.span}
          tenant={route.tenant}
        />
      );
    case "keys":
      return <KeysPage />;
    case "unknown":
      return (
        <>
          <Top page="" />
          <main>
            <p class="empty">
              The page has no place called <code>{route.path}</code>. <a href="#/">Overview</a>,{" "}
              <a href="#/traces">traces</a>, <a href="#/keys">keys</a>.
            </p>
          </main>
        </>
      );
  }
}
