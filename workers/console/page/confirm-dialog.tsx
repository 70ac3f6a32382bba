/** Says what will happen, and does it only when a person agrees. */
import { Dialog } from "./dialog.tsx";

interface ConfirmDialogProps {
  readonly title: string;
  /** What the button that does it says. */
  readonly verb: string;
  /** Why it was not done; empty: it was not tried yet. */
  readonly failure?: string;
  readonly isBusy?: boolean;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
  readonly children: string;
}

export function ConfirmDialog(props: ConfirmDialogProps) {
  const { title, verb, failure = "", isBusy = false, onClose, onConfirm, children } = props;
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{children}</p>
      {failure !== "" && (
        <p class="wrong" role="alert">
          {failure}
        </p>
      )}
      <div class="actions end">
        <button type="button" onClick={onClose}>
          Leave it
        </button>
        <button type="button" class="danger" disabled={isBusy} onClick={onConfirm}>
          {verb}
        </button>
      </div>
    </Dialog>
  );
}
