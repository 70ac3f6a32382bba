/** Copies a text, and says so. */
import { useState } from "preact/hooks";

export function CopyButton({ text, label }: { readonly text: string; readonly label: string }) {
  const [said, setSaid] = useState("");
  return (
    <button
      type="button"
      class="quiet"
      onClick={async () => {
        try {
          await navigator.clipboard.writeText(text);
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
