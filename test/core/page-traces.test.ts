/** What the page does with a link, a value and a span's time, without a browser. */
import { describe, expect, test } from "vitest";
import { pageLink, parseRoute, tracePagePath, tracesPagePath } from "../../shared/console/page-routes.ts";
import { nanosText } from "../../workers/console/page/format.ts";
import { serviceHues } from "../../workers/console/page/traces/service-hues.ts";
import { jsonText, readableValue, sqlText } from "../../workers/console/page/traces/value-text.ts";

const trace = "5b8efff798038103d269b633813fc60c";

describe("a link", () => {
  test("to a place of the page is read back as that place", () => {
    expect(parseRoute(`#${tracePagePath(trace, "eee19b7ec3c1b174")}`)).toEqual({
      page: "trace",
      trace,
      span: "eee19b7ec3c1b174",
    });
    const search = new URLSearchParams([
      ["since", "1h"],
      ["where", "http.route=/cart?a=1&b=#2"],
      ["where", "!user.id"],
    ]);
    const route = parseRoute(`#${tracesPagePath(search)}`);
    expect(route.page === "traces" ? [...route.search] : route).toEqual([...search]);
  });

  test("may be empty, of an upper-case trace, or to a place that is none", () => {
    expect(["", "#", "#/", "#/traces", "#/traces/"].map((hash) => parseRoute(hash).page)).toEqual([
      "overview",
      "overview",
      "overview",
      "traces",
      "traces",
    ]);
    expect(parseRoute(`#/traces/${trace.toUpperCase()}`)).toMatchObject({ trace });
    expect(parseRoute("#/traces/%E0%A4%A")).toMatchObject({ page: "trace", trace: "%e0%a4%a" });
    expect(parseRoute("#/nowhere")).toEqual({ page: "unknown", path: "/nowhere" });
    expect(parseRoute("#/traces/a/b").page).toBe("unknown");
  });

  test("of a local pipeline signs in, and then leads on", () => {
    const link = pageLink("http://127.0.0.1:4319/", tracePagePath(trace), { token: "a b", key: "hr_1" });
    const fragment = new URLSearchParams(new URL(link).hash.slice(1));
    expect(Object.fromEntries(fragment)).toEqual({ token: "a b", key: "hr_1", to: `/traces/${trace}` });
    expect(pageLink("https://console.example", "/")).toBe("https://console.example/#/");
  });
});

describe("a value", () => {
  test("that is JSON is indented, and keeps each of its characters but white space", () => {
    const text = '{"a":[1, {"b":"x, {y}: \\" z"}],"e":{ },"n":12345678901234567890}';
    const indented = jsonText(text);
    expect(indented.split("\n")).toEqual([
      "{",
      '  "a": [',
      "    1,",
      "    {",
      '      "b": "x, {y}: \\" z"',
      "    }",
      "  ],",
      '  "e": {},',
      '  "n": 12345678901234567890',
      "}",
    ]);
  });

  test("that is not JSON, or a number, stays as it is", () => {
    for (const text of ["", "12", "{not json}", "[1,", "plain"]) {
      expect(jsonText(text)).toBe(text);
    }
  });

  test("that is SQL has a line per clause; what is quoted is left alone", () => {
    expect(
      sqlText("select a from t left join u on t.a = u.a where x = 'and  or from' and y = 1 order by a").split(
        "\n",
      ),
    ).toEqual([
      "select a",
      "from t",
      "left join u on t.a = u.a",
      "where x = 'and  or from'",
      "  and y = 1",
      "order by a",
    ]);
  });

  test("of another attribute is not taken for SQL", () => {
    expect(readableValue("message", "select from where")).toBe("select from where");
    expect(readableValue("db.query.text", "select 1 from t")).toBe("select 1\nfrom t");
  });
});

test("a time is given in three digits and the unit that people use", () => {
  expect([0, 80, 1000, 450_000, 12_345_678, 1_250_000_000, 125e9].map(nanosText)).toEqual([
    "0 ns",
    "80 ns",
    "1 µs",
    "450 µs",
    "12.3 ms",
    "1.25 s",
    "2 min 5 s",
  ]);
});

test("fifty services have fifty colours, the same ones each time", () => {
  const spans = Array.from({ length: 100 }, (_, n) => ({ service: `s${n % 50}` }));
  const hues = serviceHues(spans);
  expect(new Set(hues.values()).size).toBe(50);
  expect([...serviceHues(spans)]).toEqual([...hues]);
});
