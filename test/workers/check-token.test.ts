import { expect, test } from "vitest";
import { carriesToken } from "../../workers/console/check-token.ts";

const asking = (authorization?: string) =>
  new Request(
    "https://console.example/metrics",
    authorization === undefined ? {} : { headers: { authorization } },
  );

test.each([
  ["Bearer one", ["one"], true],
  ["bearer   one", ["one"], true],
  ["Bearer two", ["one", "two"], true],
  ["Bearer three", ["one", "two"], false],
  ["Bearer on", ["one"], false],
  ["Basic one", ["one"], false],
  ["Bearer ", [""], false],
  ["Bearer undefined", [undefined], false],
  [undefined, ["one"], false],
  [undefined, ["", undefined], false],
] as const)("%s against the secrets %j: %s", async (authorization, secrets, isLetIn) => {
  expect(await carriesToken(asking(authorization), secrets)).toBe(isLetIn);
});
