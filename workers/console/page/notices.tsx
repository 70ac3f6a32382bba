/** What came of what a person asked for. */
import { useState } from "preact/hooks";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
}
export type Tell = (text: string, isBad?: boolean) => void;

export function useNotices(): {
  readonly notices: readonly Notice[];
  readonly reportFindings: Tell;
  readonly dismiss: (id: number) => void;
} {
  const [notices, setNotices] = useState<readonly Notice[]>([]);
  const keptMax = 4;
  return {
    notices,
    reportFindings: (text, isBad = false) =>
      setNotices((before) => [...before, { id: (before.at(-1)?.id ?? 0) + 1, text, isBad }].slice(-keptMax)),
    dismiss: (id) => setNotices((before) => before.filter((notice) => notice.id !== id)),
  };
}

interface NoticeListProps {
  readonly notices: readonly Notice[];
  readonly onDismiss: (id: number) => void;
}

export function NoticeList({ notices, onDismiss }: NoticeListProps) {
  return (
    <div class="notices" aria-live="polite">
      {notices.map(({ id, text, isBad }) => (
        <p key={id} class={isBad ? "bad" : ""}>
          {text}
          <button type="button" class="quiet" onClick={() => onDismiss(id)}>
            Dismiss
          </button>
        </p>
      ))}
    </div>
  );
}
