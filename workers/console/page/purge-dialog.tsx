/** Names what a purge takes away, and asks for the reason that its receipts will keep. */
import { useState } from "preact/hooks";
import { limits } from "../../../shared/limits.ts";
import { Dialog } from "./dialog.tsx";
import { countText, plural } from "./format.ts";

interface PurgeDialogProps {
  readonly keys: readonly string[];
  readonly onClose: () => void;
  readonly onPurge: (reason: string) => void;
}

const keysNamed = 5;

export function PurgeDialog({ keys, onClose, onPurge }: PurgeDialogProps) {
  const [reason, setReason] = useState("");
  return (
    <Dialog title={`Purge ${plural(keys.length, "payload")}?`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (reason.trim() !== "") {
            onPurge(reason.trim());
          }
        }}
      >
        <p>
          The objects in R2 and any rows of theirs are deleted, for good. The receipts stay, with outcome
          erased and your reason.
        </p>
        <ul class="named">
          {keys.slice(0, keysNamed).map((key) => (
            <li key={key} class="key whole">
              {key}
            </li>
          ))}
        </ul>
        {keys.length > keysNamed && <p class="note">and {countText(keys.length - keysNamed)} more</p>}
        <label for="reason">Reason</label>
        <input
          id="reason"
          autofocus
          required
          maxLength={limits.reasonBytesMax}
          value={reason}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        <div class="actions">
          <button type="button" onClick={onClose}>
            Keep
          </button>
          <button type="submit" class="danger" disabled={reason.trim() === ""}>
            Purge
          </button>
        </div>
      </form>
    </Dialog>
  );
}
