import { describe, expect, test } from "vitest";
import { readCommandLine } from "../../cli/command-line.ts";
import { commands } from "../../cli/commands.ts";
import { findingRow } from "../../shared/clickhouse/finding-row.ts";
import { findingAdvice, subjectText } from "../../shared/console/finding-advice.ts";
import { quotaFinding } from "../../shared/delivery/quota-finding.ts";
import { findingKinds } from "../../shared/finding.ts";
import { refusalAdvice, refusalReasons } from "../../shared/refusal-reason.ts";

const key = "p/0/t/2026-11-24T1100/acme/00000080000000000000000000";

describe("what to do about a refused request", () => {
  test("is said by its reason, for each that the ingress has", () => {
    for (const reason of refusalReasons) {
      expect(refusalAdvice(reason).length, reason).toBeGreaterThan(20);
    }
    expect(refusalAdvice("of another release")).toBe("");
  });

  test("about metrics, logs and a health check is no protocol", () => {
    expect(refusalAdvice("unknown_path")).toContain("OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none");
    expect(refusalAdvice("wrong_method")).toContain("/healthz");
    expect(refusalAdvice("unknown_path") + refusalAdvice("wrong_method")).not.toContain("PROTOCOL");
  });
});

describe("what to do about a finding", () => {
  const about = { subject: key, tenant: "acme" };

  test("is commands that there are in the CLI, and none of them on the page", () => {
    for (const kind of findingKinds) {
      const subject = kind === "quota" ? `acme/2026-11/80/${"ab".repeat(32)}` : key;
      const said = findingAdvice({ kind, ...about, subject }, "cli");
      for (const [, command = ""] of said.matchAll(/`headrace ([^`]+)`/g)) {
        const read = readCommandLine(command.replace("KEY", key).replace(/ N$/, " 5").split(" "), commands);
        expect(read.ok ? "" : read.refusal, command).toBe("");
      }
      expect(findingAdvice({ kind, ...about }, "page"), kind).not.toMatch(/headrace |\/api\//);
    }
  });

  test("about a held payload names the payload, and about a quota the key by which it is changed", () => {
    expect(findingAdvice({ kind: "inexact", ...about }, "cli")).toContain(`headrace resolve ${key} accept`);
    const quota = {
      v: 1,
      kind: "quota",
      tenant: "acme",
      account: "ab".repeat(32),
      month: "2026-11",
    } as const;
    const amounts = { percent: 100, state: "open", unit: "bytes", used: 60, perMonth: 60 } as const;
    const finding = quotaFinding({ ...quota, ...amounts });
    expect(findingAdvice(finding, "cli")).toContain("headrace keys set abababababab --bytes-per-month N");
    expect(finding.message).toBe(
      "The key abababababab… of tenant acme has used 60 of its 60 bytes of 2026-11. Requests with more bytes than are left are answered 429 until the next month.",
    );
    expect(quotaFinding({ ...quota, ...amounts, state: "resolved" }).message).not.toContain("429");
    expect(subjectText(finding.subject)).toBe("acme/2026-11/100/abababababab…/bytes");
    expect(subjectText(key)).toBe(key);
  });
});

test("an open finding's row has what to do; a row without advice has an empty object", () => {
  const finding = {
    kind: "dead_letters",
    subject: "payloads",
    state: "open",
    severity: "warning",
    tenant: "",
    message: "m",
    openedAt: 0,
  } as const;
  const { detail } = findingRow(finding, 1, findingAdvice(finding, "cli"));
  expect(JSON.parse(detail)).toEqual({ advice: expect.stringContaining("headrace dead-letters list") });
  expect(findingRow(finding, 1).detail).toBe("{}");
});
