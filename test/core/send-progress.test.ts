import { describe, expect, test } from "vitest";
import { createProgress, formatProgress } from "../../dev/send/progress.ts";

describe("the sender's progress", () => {
  test("is a bar with counts, no wider than the terminal", () => {
    expect(formatProgress("accepted", 512, 1024, "", 40)).toBe("accepted [#########----------] 512/1024");
    expect(formatProgress("accepted", 0, 0, "", 40)).toBe(`accepted [${"#".repeat(24)}] 0/0`);
    for (const columns of [1, 10, 30, 80, 300]) {
      expect(formatProgress("accepted", 5, 10, "2 retries", columns).length).toBeLessThan(columns);
    }
  });

  test("redraws one line on a terminal, also on one that does not know its width", () => {
    let text = "";
    const progress = createProgress({ isTTY: true, columns: 0, write: (part) => (text += part) });
    progress.show("accepted", 10, 10, "");
    progress.note("a note");
    progress.end();
    expect(text.split("\n")).toHaveLength(3);
    expect(text).toContain("accepted [########################################] 10/10");
  });

  test("is plain lines in a log, one a second at most", () => {
    let text = "";
    const progress = createProgress({ write: (part) => (text += part) });
    for (let done = 0; done <= 1_000; done++) {
      progress.show("accepted", done, 1_000, "");
    }
    expect(text).toBe("accepted 0/1000\naccepted 1000/1000\n");
  });
});
