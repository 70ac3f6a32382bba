/** The one word at the top: pure, from what was last learnt. */
import type { ListedFinding, Status, Watermark } from "../../../shared/console/answers.ts";

export type State = "unknown" | "well" | "look" | "act";

/** The watermark trails by about six minutes when all is well; from an hour on somebody is woken. */
const behindLookSeconds = 15 * 60;
const behindActSeconds = 60 * 60;

/** What keeps the page from saying that all is well. */
export interface Unsure {
  /** Something could not be read: it is not known to be none. */
  readonly isUnread: boolean;
  /** A payload in flight was refused more than once. */
  readonly isRefused: boolean;
}

export function judge(
  watermark: Watermark | undefined,
  status: Status | undefined,
  open: readonly ListedFinding[],
  { isUnread, isRefused }: Unsure = { isUnread: false, isRefused: false },
): State {
  if (watermark === undefined || status === undefined) {
    return "unknown";
  }
  const behind = watermark.behindSeconds ?? 0;
  const head = status.head;
  if (
    behind > behindActSeconds ||
    status.held.length > 0 ||
    head?.breaker.isOpen === true ||
    (head?.table.refusal ?? "") !== "" ||
    open.some(({ severity }) => severity === "page")
  ) {
    return "act";
  }
  const isTroubled = status.trouble !== "" || isUnread || isRefused;
  return behind > behindLookSeconds || open.length > 0 || isTroubled ? "look" : "well";
}

export function stateText(state: State): string {
  switch (state) {
    case "unknown":
      return "Asking …";
    case "well":
      return "All accounted for";
    case "look":
      return "Have a look";
    case "act":
      return "Needs a person";
  }
}

/** How the watermark's distance is coloured: by its own limits, and never as well where the word at the top is not. */
export function behindState(behindSeconds: number, state: State): State {
  if (behindSeconds > behindActSeconds) {
    return "act";
  }
  if (behindSeconds > behindLookSeconds) {
    return "look";
  }
  return state === "well" ? "well" : "unknown";
}
