/** What can be done about keys, each asked for in a dialog: the API's refusal is shown in it, and nothing typed is lost. */
import { useContext, useState } from "preact/hooks";
import type { InferOutput } from "valibot";
import { keySchema, type ListedKey, newKeySchema } from "../../../../shared/console/answers.ts";
import { AccessContext } from "../answer.ts";
import { ask, askOf, failureText } from "../ask.ts";
import { ConfirmDialog } from "../confirm-dialog.tsx";
import { Dialog } from "../dialog.tsx";
import { KeyForm } from "./key-form.tsx";
import { NewKeyDialog } from "./new-key-dialog.tsx";

export type KeyTask =
  | { readonly kind: "create"; readonly tenant?: string }
  | { readonly kind: KeyChange["kind"]; readonly key: ListedKey };

/** Of a key that is there. */
interface KeyChange {
  readonly kind: "change" | "rotate" | "switch" | "revoke";
  readonly key: ListedKey;
}

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
  const { failure, isBusy, attempt, forget } = useAttempt();
  const [made, setMade] = useState("");

  const close = (): void => {
    forget();
    setMade("");
    onClose();
  };
  const make = async (asked: Promise<NewKey>, text: (key: ListedKey) => string): Promise<void> => {
    const answer = await attempt(asked);
    if (answer !== undefined) {
      const { key: secret, ...key } = answer;
      onChanged(key, text(key));
      setMade(secret);
    }
  };
  const change = async (asked: Promise<ListedKey>, text: string): Promise<void> => {
    const key = await attempt(asked);
    if (key !== undefined) {
      onChanged(key, text);
      close();
    }
  };

  if (made !== "") {
    return <NewKeyDialog secret={made} otlp={otlp} onClose={close} />;
  }
  if (task === null) {
    return null;
  }
  if (task.kind === "create") {
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
  }
  return (
    <KeyChangeDialog task={task} shown={{ failure, isBusy, onClose: close }} make={make} change={change} />
  );
}

interface Attempt {
  /** Why the last one failed; empty: it did not. */
  readonly failure: string;
  readonly isBusy: boolean;
  /** What was asked for; undefined: it was not done, and `failure` says why. */
  readonly attempt: <T>(asked: Promise<T>) => Promise<T | undefined>;
  readonly forget: () => void;
}

function useAttempt(): Attempt {
  const [failure, setFailure] = useState("");
  const [isBusy, setBusy] = useState(false);
  const attempt = async <T,>(asked: Promise<T>): Promise<T | undefined> => {
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
  return { failure, isBusy, attempt, forget: () => setFailure("") };
}

interface KeyChangeDialogProps {
  readonly task: KeyChange;
  readonly shown: { readonly failure: string; readonly isBusy: boolean; readonly onClose: () => void };
  readonly make: (asked: Promise<NewKey>, text: (key: ListedKey) => string) => Promise<void>;
  readonly change: (asked: Promise<ListedKey>, text: string) => Promise<void>;
}

function KeyChangeDialog({ task: { kind, key }, shown, make, change }: KeyChangeDialogProps) {
  const { token } = useContext(AccessContext);
  const { id, name, tenant, status } = key;
  const whose = `key ${name} of ${tenant}`;
  const patch = (body: object): Promise<ListedKey> =>
    askOf(token, "PATCH /api/keys/:id", keySchema, { id, body });
  switch (kind) {
    case "change":
      return (
        <Dialog title={`Key ${name} of ${tenant}`} onClose={shown.onClose}>
          <KeyForm
            known={key}
            tenant={tenant}
            failure={shown.failure}
            isBusy={shown.isBusy}
            onSubmit={({ tenant: _, ...fields }) => change(patch(fields), `Key ${name} was changed.`)}
          />
        </Dialog>
      );
    case "rotate":
      return (
        <ConfirmDialog
          {...shown}
          title={`Rotate ${whose}?`}
          verb="Rotate"
          onConfirm={() =>
            make(
              askOf(token, "POST /api/keys/:id/rotate", newKeySchema, { id, body: {} }),
              () => `Key ${name} was rotated: both work for a while.`,
            )
          }
        >
          A new key is made with the same limits and allowance. The old one goes on working for a while, so
          that exporters can be changed one by one; the list says until when.
        </ConfirmDialog>
      );
    case "switch": {
      const isActive = status === "active";
      const [verb, next] = isActive ? ["Disable", "disabled"] : ["Enable", "enabled"];
      return (
        <ConfirmDialog
          {...shown}
          title={`${verb} ${whose}?`}
          verb={verb}
          onConfirm={() =>
            change(patch({ status: isActive ? "disabled" : "active" }), `Key ${name} is ${next}.`)
          }
        >
          {isActive
            ? "Requests with it are answered with 401 within two minutes, and exporters drop what they hold. It can be enabled again."
            : "Requests with it are taken again within two minutes."}
        </ConfirmDialog>
      );
    }
    case "revoke":
      return (
        <ConfirmDialog
          {...shown}
          title={`Revoke ${whose}?`}
          verb="Revoke"
          onConfirm={() =>
            change(
              askOf(token, "POST /api/keys/:id/revoke", keySchema, { id, body: {} }),
              `Key ${name} was revoked.`,
            )
          }
        >
          For good: requests with it are answered with 401 within two minutes, and no one can enable it again.
        </ConfirmDialog>
      );
  }
}
