/** Replaying and purging dead letters: each is agreed to in a dialog, done, and its outcome reported. */
import { useContext } from "preact/hooks";
import { askedForSchema } from "../../../shared/console/answers.ts";
import { askInParts } from "../../../shared/console/ask-in-parts.ts";
import { AccessContext } from "./answer.ts";
import { ask, failureText } from "./ask.ts";
import { ConfirmDialog } from "./confirm-dialog.tsx";
import { countText, plural } from "./format.ts";
import type { Tell } from "./notices.tsx";
import { PurgeDialog } from "./purge-dialog.tsx";

export interface DeadLetterTask {
  readonly kind: "replay" | "purge";
  readonly keys: readonly string[];
}

interface DeadLetterDialogsProps {
  /** null: nothing is asked. */
  readonly task: DeadLetterTask | null;
  readonly onClose: () => void;
  readonly onBusy: (isBusy: boolean) => void;
  readonly reportFindings: Tell;
  /** The Worker has taken it on. */
  readonly onTaken: () => void;
  readonly onDone: () => void;
}

export function DeadLetterDialogs(props: DeadLetterDialogsProps) {
  const { task, onClose, onBusy, reportFindings, onTaken, onDone } = props;
  const { token } = useContext(AccessContext);
  if (task === null) {
    return null;
  }
  const { kind, keys } = task;

  const act = async (
    path: "/api/replay" | "/api/erase",
    body: { readonly keys: readonly string[]; readonly reason?: string },
    done: string,
  ): Promise<void> => {
    onClose();
    onBusy(true);
    const { reason } = body;
    const { taken, missing, failed } = await askInParts(body.keys, (keys) =>
      ask(token, path, askedForSchema, { body: reason === undefined ? { keys } : { keys, reason } }),
    );
    if (taken.length > 0) {
      reportFindings(`${plural(taken.length, "payload")} ${done}`);
    }
    if (missing.length > 0) {
      reportFindings(
        `${plural(missing.length, "payload")} of these R2 does not have any more: nothing was done about them.`,
        true,
      );
    }
    if (failed !== null) {
      const about = failed.keys === body.keys.length ? "" : ` about ${countText(failed.keys)} of them`;
      reportFindings(`Nothing was done${about}. ${failureText(failed.error)}`, true);
    }
    if (failed?.keys !== body.keys.length) {
      onTaken();
    }
    onBusy(false);
    onDone();
  };

  return kind === "replay" ? (
    <ConfirmDialog
      title={`Replay ${plural(keys.length, "payload")}?`}
      verb="Replay"
      onClose={onClose}
      onConfirm={() =>
        act(
          "/api/replay",
          { keys },
          "notified again. The table is looked at first; what is not there is inserted, and leaves this list within seconds.",
        )
      }
    >
      The table is looked at first: rows that are there stay as they are, and what is not there is inserted.
      What is refused again comes back to this list, with the reason.
    </ConfirmDialog>
  ) : (
    <PurgeDialog
      keys={keys}
      onClose={onClose}
      onPurge={(reason) =>
        act("/api/erase", { keys, reason }, "will be erased: rows, then objects. The receipts stay.")
      }
    />
  );
}
