import { describe, expect, test } from "vitest";
import { type Flags, parseFlags } from "../../dev/send/flags.ts";
import { chooseTarget, type Target } from "../../dev/send/target.ts";

const devText = JSON.stringify({
  otlp: "http://127.0.0.1:4318",
  key: "hr_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
  clickhouse: "http://127.0.0.1:8123",
  console: "http://127.0.0.1:4320",
  adminToken: "secret",
});

function flagsOf(...argv: string[]): Flags {
  const result = parseFlags(argv);
  if (!result.ok || result.value === "help") {
    throw new Error("the test's flags are right");
  }
  return result.value;
}

function targetOf(argv: string[], env: Record<string, string>, text: string | undefined): Target | string {
  const result = chooseTarget({ flags: flagsOf(...argv), env, devPath: ".headrace/dev.json", devText: text });
  return result.ok ? result.value : result.refusal;
}

describe("where the sender sends", () => {
  test("is what npm run dev wrote, when nothing else is said", () => {
    expect(targetOf([], {}, devText)).toEqual({
      tracesUrl: "http://127.0.0.1:4318/v1/traces",
      headers: { authorization: "Bearer hr_AbCdEfGhIjKlMnOpQrStUvWxYz012345" },
      keyText: "the key hr_AbCd…2345 (from .headrace/dev.json)",
      clickhouseUrl: "http://127.0.0.1:8123",
      traceLink: expect.any(Function),
    });
  });

  test("links to a trace in the local console alone, for the link signs in", () => {
    const link = (target: Target | string) =>
      typeof target === "string" ? target : target.traceLink?.("ab");
    expect(link(targetOf([], {}, devText))).toMatch(
      /^http:\/\/127\.0\.0\.1:4320\/#token=secret&key=hr_\w+&to=%2Ftraces%2Fab$/,
    );
    expect(link(targetOf(["--no-wait", "--endpoint", "https://a.example/"], {}, devText))).toBeUndefined();
    expect(
      link(targetOf([], {}, JSON.stringify({ ...JSON.parse(devText), console: undefined }))),
    ).toBeUndefined();
  });

  test("says to start npm run dev when there is no dev.json and no endpoint", () => {
    expect(targetOf([], {}, undefined)).toContain("start `npm run dev` first");
    expect(targetOf([], {}, "{")).toContain("is not what `npm run dev` writes");
    expect(targetOf([], {}, '{"otlp":"4318"}')).toContain("is not what `npm run dev` writes");
  });

  test("follows a flag before the environment before dev.json", () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:5000" };
    expect(targetOf(["--no-wait"], env, devText)).toMatchObject({
      tracesUrl: "http://127.0.0.1:5000/v1/traces",
    });
    expect(targetOf(["--no-wait", "--endpoint", "https://a.example/"], env, devText)).toMatchObject({
      tracesUrl: "https://a.example/v1/traces",
    });
  });

  test("appends /v1/traces to the general variable and takes the signal's own as it is", () => {
    const general = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:5000/base/" };
    expect(targetOf(["--no-wait"], general, undefined)).toMatchObject({
      tracesUrl: "http://127.0.0.1:5000/base/v1/traces",
    });
    const own = { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:6000/traces" };
    expect(targetOf(["--no-wait"], own, undefined)).toMatchObject({
      tracesUrl: "http://127.0.0.1:6000/traces",
    });
  });

  test("never gets the local key when it is another server", () => {
    expect(targetOf(["--no-wait", "--endpoint", "https://ingest.example.com"], {}, devText)).toMatchObject({
      headers: {},
      keyText: "no key at all (--key names one)",
    });
    expect(targetOf(["--endpoint", "http://localhost:4318"], {}, devText)).toMatchObject({
      headers: { authorization: "Bearer hr_AbCdEfGhIjKlMnOpQrStUvWxYz012345" },
    });
  });

  test("leaves the headers to the SDK when the environment names them", () => {
    const env = { OTEL_EXPORTER_OTLP_HEADERS: "x-api-key=hr_x" };
    expect(targetOf([], env, devText)).toMatchObject({
      headers: {},
      keyText: "the key in OTEL_EXPORTER_OTLP_HEADERS",
    });
    expect(targetOf(["--key", "hr_other"], env, devText)).toMatchObject({
      headers: { authorization: "Bearer hr_other" },
    });
  });

  test("needs a ClickHouse to wait with, or --no-wait", () => {
    expect(targetOf(["--endpoint", "https://a.example"], {}, devText)).toBe(
      "say with --clickhouse where the spans arrive, or --no-wait",
    );
    expect(
      targetOf(["--endpoint", "https://a.example", "--clickhouse", "https://c.example"], {}, devText),
    ).toMatchObject({ clickhouseUrl: "https://c.example" });
  });
});
