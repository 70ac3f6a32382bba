/** Copies a text, and says so. */
import { useState } from "preact/hooks";

interface CopyButtonProps {
  /** A function: of a text that is not made before it is asked for. */
  readonly text: string | (() => string);
  readonly label: string;
}

export function CopyButton({ text, label }: CopyButtonProps) {
  const [said, setSaid] = useState("");
  return (
    <button
      type="button"
      class="quiet"
      onClick={async () => {
        try {
          await navigator.clipboard.writeText(typeof text === "string" ? text : text());
          setSaid("Copied");
        } catch {
          setSaid("Select it and copy by hand: the browser refused");
        }
        setTimeout(() => setSaid(""), 2000);
      }}
    >
      <span aria-live="polite">{said || label}</span>
    </button>
  );
}
