/** One thing that `doctor` looked at: what it found, and the command that fixes it. */
export interface Check {
  /** What was looked at, in two words: `clickhouse window`. */
  readonly check: string;
  /** `warning`: it works, and somebody should know. */
  readonly verdict: "good" | "warning" | "bad";
  readonly found: string;
  /** What fixes it; empty where nothing is to be fixed. */
  readonly mend: string;
}

export function good(check: string, found: string): Check {
  return { check, verdict: "good", found, mend: "" };
}

export function warning(check: string, found: string, mend: string): Check {
  return { check, verdict: "warning", found, mend };
}

export function bad(check: string, found: string, mend: string): Check {
  return { check, verdict: "bad", found, mend };
}
