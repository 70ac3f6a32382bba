import { describe, expect, test } from "vitest";
import { parseFlags } from "../../dev/send/flags.ts";

const refusalOf = (...argv: string[]): string => {
  const result = parseFlags(argv);
  return result.ok ? "accepted" : result.refusal;
};

describe("the sender's command line", () => {
  test("has a default for everything", () => {
    expect(parseFlags([])).toEqual({
      ok: true,
      value: {
        spans: 1_000,
        services: 5,
        seed: 1,
        batch: 512,
        json: false,
        compression: "gzip",
        endpoint: undefined,
        key: undefined,
        clickhouse: undefined,
        table: "otel_traces",
        wait: true,
        deadlineSeconds: 60,
      },
    });
  });

  test("takes values after a space and after =", () => {
    const argv = ["--spans", "100000", "--services=20", "--json", "--compression", "none", "--key", "hr_a"];
    const result = parseFlags([
      ...argv,
      "--no-wait",
      "--endpoint=https://ingest.example.com",
      "--deadline",
      "5",
    ]);
    expect(result.ok && result.value).toMatchObject({
      spans: 100_000,
      services: 20,
      json: true,
      compression: "none",
      key: "hr_a",
      wait: false,
      endpoint: "https://ingest.example.com",
      deadlineSeconds: 5,
    });
  });

  test("gives the help text whatever else is wrong with the values", () => {
    expect(parseFlags(["--help", "--spans", "many"])).toEqual({ ok: true, value: "help" });
    expect(parseFlags(["-h"])).toEqual({ ok: true, value: "help" });
  });

  test("names the nearest flag for one that it does not know", () => {
    expect(refusalOf("--span", "3")).toBe("unknown flag --span; did you mean --spans?");
    expect(refusalOf("--compresion=none")).toBe("unknown flag --compresion; did you mean --compression?");
    expect(refusalOf("--nowait")).toBe("unknown flag --nowait; did you mean --no-wait?");
    expect(refusalOf("--frobnicate")).toBe("unknown flag --frobnicate; --help lists the flags");
    expect(refusalOf("spans")).toBe('"spans" is not a flag; did you mean --spans?');
  });

  test.each([
    [["--spans", "0"], '--spans is a whole number from 1 to 100000000, not "0"'],
    [["--spans", "1e3"], '--spans is a whole number from 1 to 100000000, not "1e3"'],
    [["--services", "-1"], '--services is a whole number from 1 to 1000, not "-1"'],
    [["--batch", "12.5"], '--batch is a whole number from 1 to 100000, not "12.5"'],
    [["--compression", "zstd"], '--compression is gzip or none, not "zstd"'],
    [["--endpoint", "localhost:4318"], "--endpoint is a URL that begins with http:// or https://, not"],
    [["--table", "a;b"], "--table is a table's name"],
    [["--key"], "--key needs a value"],
    [["--key", "--json"], "--key needs a value"],
    [["--json=yes"], "--json takes no value"],
    [["--spans", "1", "--spans", "2"], "--spans is given twice"],
  ])("refuses %j", (argv, refusal) => {
    expect(refusalOf(...argv)).toContain(refusal);
  });
});
