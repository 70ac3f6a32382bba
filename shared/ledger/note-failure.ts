/**
 * Keeping why attempts failed: each group remembers how many did and what the last one said, and what is made of its
 * payloads takes that along (make-group.ts).
 */
import { errorName, errorWords } from "../clickhouse/errors.ts";
import type { Failure } from "../failure.ts";
import { limits } from "../limits.ts";
import type { AttemptReport, Group } from "./group.ts";
import { shortText } from "./short-text.ts";

/** The group, one failed attempt later. Any other report leaves it as it is. */
export function withFailedReport(group: Group, report: AttemptReport, now: number): Group {
  if (!("reason" in report)) {
    return group;
  }
  const code = ("code" in report ? report.code : undefined) ?? null;
  const name = code === null ? "" : errorName(code, report.reason);
  const ofErasure = "ofErasure" in report && report.ofErasure === true ? ({ ofErasure: true } as const) : {};
  const text = errorWords(report.reason);
  return failedOnce(group, { at: now, kind: report.kind, code, name, text, ...ofErasure });
}

/** The group, whose attempt was never reported. */
export function withSilence(group: Group, now: number): Group {
  const text = "the attempt was not reported until its lease ended: its isolate died, or it took longer";
  return failedOnce(group, { at: now, kind: "unreported", code: null, name: "", text });
}

function failedOnce(group: Group, last: Omit<Failure, "failed" | "refused" | "since">): Group {
  const { failed, refused, since } = group.failure ?? { failed: 0, refused: 0, since: last.at };
  const text = shortText(last.text, limits.failureTextBytesMax);
  const failure = {
    since,
    failed: failed + 1,
    refused: refused + (last.kind === "refused" ? 1 : 0),
    ...last,
    text,
  };
  return { ...group, failure };
}
