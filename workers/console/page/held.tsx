/** Payloads that nobody inserts until a person decides: the table holds neither none nor all of their rows. */
import { useContext, useState } from "preact/hooks";
import { resolvedSchema, type Status } from "../../../shared/console/answers.ts";
import { AccessContext } from "./answer.ts";
import { ask, failureText } from "./ask.ts";
import { ConfirmDialog } from "./confirm-dialog.tsx";
import type { Tell } from "./notices.tsx";
import { Panel } from "./panel.tsx";
import { PayloadKey } from "./payload-key.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";

/** What a person may decide about a held payload. */
const ways = {
  accept: {
    verb: "Accept what is there",
    what: "The rows that the table has become the receipt's: nothing is inserted, and nothing is deleted.",
    done: "Accepted: what the table has of the payload is now its receipt.",
  },
  rewrite: {
    verb: "Write it anew",
    what: "The payload's rows are deleted, and all of it is inserted again from its object in R2.",
    done: "Its rows will be deleted and written anew from R2.",
  },
} as const;

interface HeldProps {
  readonly held: Status["held"];
  /** All of them: those above are the ones that have been held for the longest. */
  readonly count: number;
  readonly reportFindings: Tell;
  readonly onDone: () => void;
}

export function Held({ held, count, reportFindings, onDone }: HeldProps) {
  const { token } = useContext(AccessContext);
  const [opened, setOpened] = useState("");
  const [asking, setAsking] = useState("");
  const [deciding, setDeciding] = useState<{ readonly key: string; readonly how: keyof typeof ways } | null>(
    null,
  );
  if (held.length === 0) {
    return null;
  }
  const decide = async (key: string, how: keyof typeof ways): Promise<void> => {
    setDeciding(null);
    setAsking(key);
    try {
      const { resolved } = await ask(token, "/api/resolve", resolvedSchema, { body: { key, how } });
      reportFindings(
        resolved ? ways[how].done : "That payload is not held any more: nothing was done.",
        !resolved,
      );
    } catch (error) {
      reportFindings(`Nothing was done. ${failureText(error)}`, true);
    }
    setAsking("");
    onDone();
  };
  return (
    <Panel id="held" title="Held for a person">
      <p class="lead">
        The table holds neither none nor all rows of these payloads, so nobody inserts them. Compare the rows
        with the payload; accepting takes what is there as what was stored, writing anew deletes it and
        inserts the payload from R2.
        {count > held.length && ` ${count} are held; these are the first.`}
      </p>
      <ul class="rows">
        {held.map(({ key, reason }) => (
          <li key={key}>
            <div>
              <PayloadKey payloadKey={key} onOpen={setOpened} />
              <p class="why">{reason}</p>
            </div>
            <div class="actions">
              {(["accept", "rewrite"] as const).map((how) => (
                <button
                  type="button"
                  key={how}
                  disabled={asking === key}
                  onClick={() => setDeciding({ key, how })}
                >
                  {ways[how].verb}
                </button>
              ))}
            </div>
          </li>
        ))}
      </ul>
      {deciding !== null && (
        <ConfirmDialog
          title={`${ways[deciding.how].verb}?`}
          verb={ways[deciding.how].verb}
          onClose={() => setDeciding(null)}
          onConfirm={() => decide(deciding.key, deciding.how)}
        >
          {ways[deciding.how].what}
        </ConfirmDialog>
      )}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
    </Panel>
  );
}
