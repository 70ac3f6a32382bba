/** One dead letter: its reason, and what can be done about it. */
import type { DeadLetter } from "../../../shared/console/answers.ts";
import type { DeadLetterTask } from "./dead-letter-dialogs.tsx";
import { agoText, countText, isoOf, plural } from "./format.ts";
import { PayloadKey } from "./payload-key.tsx";

interface DeadLetterRowProps {
  readonly letter: DeadLetter;
  readonly now: number;
  readonly isChosen: boolean;
  /** Chooses it, or not any more. Absent: there is nothing to choose from. */
  readonly onToggle?: () => void;
  readonly onOpen: () => void;
  readonly isBusy: boolean;
  readonly onTask: (task: DeadLetterTask) => void;
}

export function DeadLetterRow(props: DeadLetterRowProps) {
  const { letter, now, isChosen, onToggle, onOpen, isBusy, onTask } = props;
  const { key, tenant, reason, message, refusals, spans, at } = letter;
  return (
    <li>
      {onToggle !== undefined && (
        <input type="checkbox" aria-label={`Choose ${key}`} checked={isChosen} onChange={onToggle} />
      )}
      <div>
        <p>
          <PayloadKey payloadKey={key} onOpen={onOpen} />
          <span class="note">
            {tenant}, {plural(spans, "span")}, died {agoText(isoOf(at), now)}
          </span>
        </p>
        <p>{reasonText(reason, refusals)}</p>
        {message !== reason && <p class="why">{message}</p>}
      </div>
      <div class="actions">
        <button type="button" onClick={onOpen}>
          Show spans
        </button>
        <button type="button" disabled={isBusy} onClick={() => onTask({ kind: "replay", keys: [key] })}>
          Replay
        </button>
        <button
          type="button"
          class="danger"
          disabled={isBusy}
          onClick={() => onTask({ kind: "purge", keys: [key] })}
        >
          Purge
        </button>
      </div>
    </li>
  );
}

/** The recorded reason, with what it means where it is one word. */
export function reasonText(reason: string, refusals: number): string {
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
