/** Payloads that could not be stored: why, what is in them, and what to do about them. */
import { useContext, useState } from "preact/hooks";
import { askedForSchema, type DeadLetter } from "../../../shared/console/answers.ts";
import { ask, failureText } from "./ask.ts";
import { ConfirmDialog } from "./confirm-dialog.tsx";
import { agoText, countText, isoOf, plural } from "./format.ts";
import type { Tell } from "./notices.tsx";
import { Panel } from "./panel.tsx";
import { PayloadKey } from "./payload-key.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";
import { AccessContext, type Polled } from "./polling.ts";
import { PurgeDialog } from "./purge-dialog.tsx";

interface DeadLettersProps {
  readonly deadLetters: Polled<readonly DeadLetter[]>;
  readonly now: number;
  readonly reportFindings: Tell;
  readonly onDone: () => void;
}

const shownFirst = 25;

export function DeadLetters({ deadLetters, now, reportFindings, onDone }: DeadLettersProps) {
  const { token } = useContext(AccessContext);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [opened, setOpened] = useState("");
  const [purging, setPurging] = useState<readonly string[]>([]);
  const [replaying, setReplaying] = useState<readonly string[]>([]);
  const [isBusy, setBusy] = useState(false);
  const [shownCount, setShownCount] = useState(shownFirst);
  const letters = deadLetters.value ?? [];
  const causes = new Map<string, readonly string[]>();
  for (const { reason, key } of letters) {
    causes.set(reason, [...(causes.get(reason) ?? []), key]);
  }
  const marked = letters.filter(({ key }) => chosen.has(key)).map(({ key }) => key);

  const act = async (
    path: "/api/replay" | "/api/erase",
    body: { readonly keys: readonly string[]; readonly reason?: string },
    done: string,
  ): Promise<void> => {
    setBusy(true);
    try {
      const { taken, missing } = await ask(token, path, askedForSchema, { body });
      if (taken.length > 0) {
        reportFindings(`${plural(taken.length, "payload")} ${done}`);
      }
      if (missing.length > 0) {
        reportFindings(
          `${plural(missing.length, "payload")} of these R2 does not have any more: nothing was done about them.`,
          true,
        );
      }
      setChosen(new Set());
    } catch (error) {
      reportFindings(`Nothing was done. ${failureText(error)}`, true);
    }
    setBusy(false);
    onDone();
  };
  const replay = (keys: readonly string[]) =>
    act(
      "/api/replay",
      { keys },
      "notified again. The table is looked at first; what is not there is inserted, and leaves this list within seconds.",
    );

  const toggle = (key: string): void => {
    const next = new Set(chosen);
    if (!next.delete(key)) {
      next.add(key);
    }
    setChosen(next);
  };
  const isAll = letters.length > 0 && marked.length === letters.length;
  const bulk = letters.length > 1 && (
    <div class="actions">
      <label>
        <input
          type="checkbox"
          checked={isAll}
          onChange={() => setChosen(isAll ? new Set() : new Set(letters.map(({ key }) => key)))}
        />{" "}
        All {countText(letters.length)}
      </label>
      <button type="button" disabled={isBusy || marked.length === 0} onClick={() => setReplaying(marked)}>
        Replay {marked.length > 0 ? countText(marked.length) : ""}
      </button>
      <button
        type="button"
        class="danger"
        disabled={isBusy || marked.length === 0}
        onClick={() => setPurging(marked)}
      >
        Purge {marked.length > 0 ? countText(marked.length) : ""}
      </button>
    </div>
  );

  return (
    <Panel id="dead-letters" title="Dead letters" failure={deadLetters.failure} aside={bulk}>
      {deadLetters.value?.length === 0 && (
        <p class="empty">No dead letters: nothing that was accepted has been refused for good.</p>
      )}
      {letters.some(({ from }) => from === "record") && (
        <p class="note">
          ClickHouse does not answer: these are R2's records, the latest 100 at most. What was replayed more
          than 26 h ago may be among them.
        </p>
      )}
      {causes.size > 1 && letters.length > causes.size && (
        <ul class="causes" aria-label="By cause">
          {[...causes].map(([reason, keys]) => (
            <li key={reason}>
              <span>
                <b>{countText(keys.length)}</b> {reasonText(reason, 0)}
              </span>
              <button type="button" disabled={isBusy} onClick={() => setReplaying(keys)}>
                Replay {countText(keys.length)}
              </button>
              <button type="button" class="danger" disabled={isBusy} onClick={() => setPurging(keys)}>
                Purge {countText(keys.length)}
              </button>
            </li>
          ))}
        </ul>
      )}
      {letters.length > 0 && (
        <ul class="rows">
          {letters.slice(0, shownCount).map(({ key, tenant, reason, message, refusals, spans, at }) => (
            <li key={key}>
              {letters.length > 1 && (
                <input
                  type="checkbox"
                  aria-label={`Choose ${key}`}
                  checked={chosen.has(key)}
                  onChange={() => toggle(key)}
                />
              )}
              <div>
                <p>
                  <PayloadKey payloadKey={key} onOpen={setOpened} />
                  <span class="note">
                    {tenant}, {plural(spans, "span")}, died {agoText(isoOf(at), now)}
                  </span>
                </p>
                <p>{reasonText(reason, refusals)}</p>
                {message !== reason && <p class="why">{message}</p>}
              </div>
              <div class="actions">
                <button type="button" onClick={() => setOpened(key)}>
                  Show spans
                </button>
                <button type="button" disabled={isBusy} onClick={() => setReplaying([key])}>
                  Replay
                </button>
                <button type="button" class="danger" disabled={isBusy} onClick={() => setPurging([key])}>
                  Purge
                </button>
              </div>
            </li>
          ))}
        </ul>
      )}
      {letters.length > shownCount && (
        <button type="button" class="quiet" onClick={() => setShownCount(shownCount * 4)}>
          Show more of {countText(letters.length)}
        </button>
      )}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
      {replaying.length > 0 && (
        <ConfirmDialog
          title={`Replay ${plural(replaying.length, "payload")}?`}
          verb="Replay"
          onClose={() => setReplaying([])}
          onConfirm={() => {
            setReplaying([]);
            replay(replaying);
          }}
        >
          The table is looked at first: rows that are there stay as they are, and what is not there is
          inserted. What is refused again comes back to this list, with the reason.
        </ConfirmDialog>
      )}
      {purging.length > 0 && (
        <PurgeDialog
          keys={purging}
          onClose={() => setPurging([])}
          onPurge={(reason) => {
            setPurging([]);
            act(
              "/api/erase",
              { keys: purging, reason },
              "will be erased: rows, then objects. The receipts stay.",
            );
          }}
        />
      )}
    </Panel>
  );
}

/** The recorded reason, with what it means where it is one word. */
function reasonText(reason: string, refusals: number): string {
  const code = /^rejected:(\d+)/.exec(reason)?.[1];
  if (code !== undefined) {
    const times = refusals > 1 ? ` ${countText(refusals)} times, last` : "";
    return `ClickHouse refused it${times} with code ${code} (${reason}). Mend the cause, then replay.`;
  }
  if (reason === "missing_object") {
    return "R2 had no object under its key when it was fetched (missing_object).";
  }
  return reason.startsWith("decode") ? `It does not decode (${reason}).` : reason;
}
