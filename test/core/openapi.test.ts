import { describe, expect, test } from "vitest";
import { openApi } from "../../dev/openapi.ts";
import { routeNames } from "../../shared/console/routes.ts";
import { router } from "../../workers/console/router.ts";
import { disagreementWith } from "../console/openapi-check.ts";

const document = openApi("0.0.0");

test("every route of the console's router is in its OpenAPI document, and no other", () => {
  const served = router.routes
    .map(([method, , , path]) => `${method} ${path === "" ? "/" : path}`)
    .filter((name) => !name.startsWith("ALL"))
    .map((name) => name.replace("/:id", "/{id}").replace("*", "{file}"));
  const described = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(served.length).toBeGreaterThan(25);
  expect(described.sort()).toEqual(served.sort());
});

test("every part of the API asks for the admin token", () => {
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const { security } of Object.values(operations)) {
      const asked = security.flatMap((one) => Object.keys(one));
      expect(asked, path).toEqual(
        path.startsWith("/api/") ? ["admin_token"] : path === "/metrics" ? ["metrics_token"] : [],
      );
    }
  }
});

describe("the document", () => {
  const disagreement = disagreementWith(document);

  test("says of each route what it answers, and what a refusal is", () => {
    const status = (name: string) => (/^POST \/api\/keys(\/:id\/rotate)?$/.test(name) ? 201 : 200);
    for (const name of routeNames) {
      expect(disagreement(name, 400, { error: "hours must be a number" }), name).toBe("");
      expect(disagreement(name, 503, { error: 3 }), name).toContain("error must be string");
      expect(disagreement(name, status(name), 1), name).toMatch(/must be|must match/);
    }
  });

  test("asks for the parts of an answer, and for times in UTC", () => {
    const asked = { watermark: "2026-11-24T07:41:00Z", behindSeconds: 1, ranAt: null, openMinutes: [] };
    expect(disagreement("GET /api/watermark", 200, asked)).toContain("openMinutesCount");
    const whole = { ...asked, openMinutesCount: 0 };
    expect(disagreement("GET /api/watermark", 200, whole)).toBe("");
    expect(disagreement("GET /api/watermark", 200, { ...whole, later: 1 })).toBe("");
    const local = { ...whole, watermark: "2026-11-24 07:41:00" };
    expect(disagreement("GET /api/watermark", 200, local)).toContain("date-time");
  });

  test("names what a question may say", () => {
    const { parameters } = document.paths["/api/outcomes"]?.["get"] ?? {};
    expect(parameters).toMatchObject([
      { name: "hours", in: "query", required: false, schema: { type: "string", default: "1" } },
      { name: "tenant", required: false },
      { name: "by", schema: { enum: ["minute"] } },
    ]);
    expect(document.paths["/api/keys/{id}/rotate"]?.["post"]).toMatchObject({
      parameters: [{ name: "id", in: "path", required: true }],
      requestBody: { content: { "application/json": { schema: { additionalProperties: false } } } },
    });
  });
});
