/** What can be done about keys, each asked for in a dialog: the API's refusal is shown in it, and nothing typed is lost. */
import { useContext, useState } from "preact/hooks";
import type { InferOutput } from "valibot";
import { keySchema, type ListedKey, newKeySchema } from "../../../../shared/console/answers.ts";
import { exportLines } from "../../../../shared/export-lines.ts";
import { ask, askOf, failureText } from "../ask.ts";
import { ConfirmDialog } from "../confirm-dialog.tsx";
import { CopyButton } from "../copy-button.tsx";
import { Dialog } from "../dialog.tsx";
import { AccessContext } from "../polling.ts";
import { KeyForm } from "./key-form.tsx";

export type KeyTask =
  | { readonly kind: "create"; readonly tenant?: string }
  | { readonly kind: "change" | "rotate" | "switch" | "revoke"; readonly key: ListedKey };

type NewKey = InferOutput<typeof newKeySchema>;

interface KeyDialogsProps {
  readonly task: KeyTask | null;
  /** Where exporters send to; empty: not known. */
  readonly otlp: string;
  readonly onClose: () => void;
  readonly onChanged: (key: ListedKey, text: string) => void;
}

export function KeyDialogs({ task, otlp, onClose, onChanged }: KeyDialogsProps) {
  const { token } = useContext(AccessContext);
  const [failure, setFailure] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [made, setMade] = useState("");

  const close = (): void => {
    setFailure("");
    setMade("");
    onClose();
  };
  /** What was asked for, or why it was not done, in the dialog. */
  const tried = async <T,>(asked: Promise<T>): Promise<T | undefined> => {
    setBusy(true);
    setFailure("");
    try {
      return await asked;
    } catch (error) {
      setFailure(failureText(error));
      return undefined;
    } finally {
      setBusy(false);
    }
  };
  const make = async (asked: Promise<NewKey>, text: (key: ListedKey) => string): Promise<void> => {
    const answer = await tried(asked);
    if (answer !== undefined) {
      const { key: secret, ...key } = answer;
      onChanged(key, text(key));
      setMade(secret);
    }
  };
  const change = async (asked: Promise<ListedKey>, text: string): Promise<void> => {
    const key = await tried(asked);
    if (key !== undefined) {
      onChanged(key, text);
      close();
    }
  };

  if (made !== "") {
    return <MadeKey secret={made} otlp={otlp} onClose={close} />;
  }
  switch (task?.kind) {
    case "create":
      return (
        <Dialog title="New key" onClose={close}>
          <KeyForm
            tenant={task.tenant ?? ""}
            failure={failure}
            isBusy={isBusy}
            onSubmit={(fields) =>
              make(
                ask(token, "/api/keys", newKeySchema, { body: fields }),
                ({ tenant, name }) => `Key ${name} of ${tenant} was made.`,
              )
            }
          />
        </Dialog>
      );
    case "change":
      return (
        <Dialog title={`Key ${task.key.name} of ${task.key.tenant}`} onClose={close}>
          <KeyForm
            known={task.key}
            tenant={task.key.tenant}
            failure={failure}
            isBusy={isBusy}
            onSubmit={({ tenant: _, ...fields }) =>
              change(
                askOf(token, "PATCH /api/keys/:id", keySchema, { id: task.key.id, body: fields }),
                `Key ${task.key.name} was changed.`,
              )
            }
          />
        </Dialog>
      );
    case "rotate":
      return (
        <ConfirmDialog
          title={`Rotate key ${task.key.name} of ${task.key.tenant}?`}
          verb="Rotate"
          failure={failure}
          isBusy={isBusy}
          onClose={close}
          onConfirm={() =>
            make(
              askOf(token, "POST /api/keys/:id/rotate", newKeySchema, { id: task.key.id, body: {} }),
              () => `Key ${task.key.name} was rotated: both work for a while.`,
            )
          }
        >
          A new key is made with the same limits and allowance. The old one goes on working for a while, so
          that exporters can be changed one by one; the list says until when.
        </ConfirmDialog>
      );
    case "switch": {
      const isActive = task.key.status === "active";
      return (
        <ConfirmDialog
          title={`${isActive ? "Disable" : "Enable"} key ${task.key.name} of ${task.key.tenant}?`}
          verb={isActive ? "Disable" : "Enable"}
          failure={failure}
          isBusy={isBusy}
          onClose={close}
          onConfirm={() =>
            change(
              askOf(token, "PATCH /api/keys/:id", keySchema, {
                id: task.key.id,
                body: { status: isActive ? "disabled" : "active" },
              }),
              `Key ${task.key.name} is ${isActive ? "disabled" : "enabled"}.`,
            )
          }
        >
          {isActive
            ? "Requests with it are answered with 401 within a minute, and exporters drop what they hold. It can be enabled again."
            : "Requests with it are taken again within a minute."}
        </ConfirmDialog>
      );
    }
    case "revoke":
      return (
        <ConfirmDialog
          title={`Revoke key ${task.key.name} of ${task.key.tenant}?`}
          verb="Revoke"
          failure={failure}
          isBusy={isBusy}
          onClose={close}
          onConfirm={() =>
            change(
              askOf(token, "POST /api/keys/:id/revoke", keySchema, { id: task.key.id, body: {} }),
              `Key ${task.key.name} was revoked.`,
            )
          }
        >
          For good: requests with it are answered with 401 within a minute, and no one can enable it again.
        </ConfirmDialog>
      );
    default:
      return null;
  }
}

function MadeKey({
  secret,
  otlp,
  onClose,
}: {
  readonly secret: string;
  readonly otlp: string;
  readonly onClose: () => void;
}) {
  const lines = exportLines(otlp === "" ? "https://<your ingress>" : otlp, secret).join("\n");
  return (
    <Dialog title="The new key" isWide onClose={onClose}>
      <p>
        It is shown this once: only its hash is kept. <span class="key whole">{secret}</span>{" "}
        <CopyButton text={secret} label="Copy key" />
      </p>
      <div class="paste">
        <pre>{lines}</pre>
        <CopyButton text={lines} label="Copy" />
      </div>
    </Dialog>
  );
}
