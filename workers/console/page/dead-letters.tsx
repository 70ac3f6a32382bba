/** Payloads that could not be stored: why, what is in them, and what to do about them. */
import { useState } from "preact/hooks";
import type { DeadLetter } from "../../../shared/console/answers.ts";
import type { Answer } from "./answer.ts";
import { DeadLetterDialogs, type DeadLetterTask } from "./dead-letter-dialogs.tsx";
import { DeadLetterRow, reasonText } from "./dead-letter-row.tsx";
import { countText } from "./format.ts";
import type { Tell } from "./notices.tsx";
import { Panel } from "./panel.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";

interface DeadLettersProps {
  readonly deadLetters: Answer<readonly DeadLetter[]>;
  readonly now: number;
  readonly reportFindings: Tell;
  readonly onDone: () => void;
}

const shownFirst = 25;

export function DeadLetters({ deadLetters, now, reportFindings, onDone }: DeadLettersProps) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [opened, setOpened] = useState("");
  const [task, setTask] = useState<DeadLetterTask | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [shownCount, setShownCount] = useState(shownFirst);
  const letters = deadLetters.value ?? [];
  const act = { isBusy, onTask: setTask };
  const bulk = letters.length > 1 && <Bulk letters={letters} chosen={chosen} onChosen={setChosen} {...act} />;

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
      <Causes letters={letters} {...act} />
      {letters.length > 0 && (
        <ul class="rows">
          {letters.slice(0, shownCount).map((letter) => (
            <DeadLetterRow
              key={letter.key}
              letter={letter}
              now={now}
              isChosen={chosen.has(letter.key)}
              {...(letters.length > 1 ? { onToggle: () => setChosen(toggled(chosen, letter.key)) } : {})}
              onOpen={() => setOpened(letter.key)}
              {...act}
            />
          ))}
        </ul>
      )}
      {letters.length > shownCount && (
        <button type="button" class="quiet" onClick={() => setShownCount(shownCount * 4)}>
          Show more of {countText(letters.length)}
        </button>
      )}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
      <DeadLetterDialogs
        task={task}
        onClose={() => setTask(null)}
        onBusy={setBusy}
        reportFindings={reportFindings}
        onTaken={() => setChosen(new Set())}
        onDone={onDone}
      />
    </Panel>
  );
}

function toggled(chosen: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(chosen);
  if (!next.delete(key)) {
    next.add(key);
  }
  return next;
}

interface ActProps {
  /** Something is being done: nothing else is begun. */
  readonly isBusy: boolean;
  readonly onTask: (task: DeadLetterTask) => void;
}

interface BulkProps extends ActProps {
  readonly letters: readonly DeadLetter[];
  readonly chosen: ReadonlySet<string>;
  readonly onChosen: (keys: ReadonlySet<string>) => void;
}

/** All of them, or those that are chosen. */
function Bulk({ letters, chosen, onChosen, isBusy, onTask }: BulkProps) {
  const keys = letters.filter(({ key }) => chosen.has(key)).map(({ key }) => key);
  const isAll = keys.length === letters.length;
  const count = keys.length > 0 ? countText(keys.length) : "";
  const isIdle = isBusy || keys.length === 0;
  return (
    <div class="actions">
      <label>
        <input
          type="checkbox"
          checked={isAll}
          onChange={() => onChosen(isAll ? new Set() : new Set(letters.map(({ key }) => key)))}
        />{" "}
        All {countText(letters.length)}
      </label>
      <button type="button" disabled={isIdle} onClick={() => onTask({ kind: "replay", keys })}>
        Replay {count}
      </button>
      <button type="button" class="danger" disabled={isIdle} onClick={() => onTask({ kind: "purge", keys })}>
        Purge {count}
      </button>
    </div>
  );
}

interface CausesProps extends ActProps {
  readonly letters: readonly DeadLetter[];
}

/** What several died of, with one button for all of a cause; nothing where each died of its own. */
function Causes({ letters, isBusy, onTask }: CausesProps) {
  const causes = new Map<string, readonly string[]>();
  for (const { reason, key } of letters) {
    causes.set(reason, [...(causes.get(reason) ?? []), key]);
  }
  if (causes.size <= 1 || letters.length <= causes.size) {
    return null;
  }
  return (
    <ul class="causes" aria-label="By cause">
      {[...causes].map(([reason, keys]) => (
        <li key={reason}>
          <span>
            <b>{countText(keys.length)}</b> {reasonText(reason, 0)}
          </span>
          <button type="button" disabled={isBusy} onClick={() => onTask({ kind: "replay", keys })}>
            Replay {countText(keys.length)}
          </button>
          <button
            type="button"
            class="danger"
            disabled={isBusy}
            onClick={() => onTask({ kind: "purge", keys })}
          >
            Purge {countText(keys.length)}
          </button>
        </li>
      ))}
    </ul>
  );
}
