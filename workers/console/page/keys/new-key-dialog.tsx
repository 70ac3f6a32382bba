/** A key that was just made: shown this once, with the lines to paste into an exporter's environment. */
import { exportLines } from "../../../../shared/export-lines.ts";
import { CopyButton } from "../copy-button.tsx";
import { Dialog } from "../dialog.tsx";

interface NewKeyDialogProps {
  readonly secret: string;
  /** Where exporters send to; empty: not known. */
  readonly otlp: string;
  readonly onClose: () => void;
}

export function NewKeyDialog({ secret, otlp, onClose }: NewKeyDialogProps) {
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
