/** Payloads that nobody inserts until a person decides: the table holds neither none nor all of their rows. */
import { useContext, useState } from "preact/hooks";
import { resolvedSchema, type Status } from "../../../shared/console/answers.ts";
import { ask, failureText } from "./ask.ts";
import type { Tell } from "./notices.tsx";
import { Panel } from "./panel.tsx";
import { PayloadKey } from "./payload-key.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";
import { AccessContext } from "./polling.ts";

interface HeldProps {
  readonly held: Status["held"];
  readonly reportFindings: Tell;
  readonly onDone: () => void;
}

export function Held({ held, reportFindings, onDone }: HeldProps) {
  const { token } = useContext(AccessContext);
  const [opened, setOpened] = useState("");
  const [asking, setAsking] = useState("");
  if (held.length === 0) {
    return null;
  }
  const accept = async (key: string): Promise<void> => {
    setAsking(key);
    try {
      await ask(token, "/api/resolve", resolvedSchema, { body: { key, how: "accept" } });
      reportFindings("Accepted: what the table has of the payload is now its receipt.");
    } catch (error) {
      reportFindings(`Not accepted. ${failureText(error)}`, true);
    }
    setAsking("");
    onDone();
  };
  return (
    <Panel id="held" title="Held for a person">
      <p class="lead">
        The table holds neither none nor all rows of these payloads, so nobody inserts them. Compare the rows
        with the payload; accepting takes what is there as what was stored.
      </p>
      <ul class="rows">
        {held.map(({ key, reason }) => (
          <li key={key}>
            <div>
              <PayloadKey payloadKey={key} onOpen={setOpened} />
              <p>{reason}</p>
            </div>
            <div class="actions">
              <button type="button" disabled={asking === key} onClick={() => accept(key)}>
                Accept what is there
              </button>
            </div>
          </li>
        ))}
      </ul>
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
    </Panel>
  );
}
