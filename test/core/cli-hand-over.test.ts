import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { headrace } from "../wrangler/cli-run.ts";

/** A console that takes what it is handed. It fails at the request of this number, and then tells `onFailure`. */
let server: Server;
let url = "";
let requests: string[][] = [];
let failsAt = 0;
let onRequest: () => void = () => {};

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += chunk;
    });
    request.on("end", () => {
      const { keys } = JSON.parse(body) as { keys: string[] };
      requests.push(keys);
      onRequest();
      const fails = requests.length === failsAt;
      response.statusCode = fails ? 503 : 200;
      response.end(JSON.stringify(fails ? { error: "R2 cannot be reached" } : { taken: keys, missing: [] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});
afterAll(() => server.close());
beforeEach(() => {
  requests = [];
  failsAt = 0;
  onRequest = () => {};
});

const keys = Array.from({ length: 250 }, (_, index) => `key-${index}`);
const replay = (interrupted = new AbortController().signal) =>
  headrace(
    ["dead-letters", "replay", ...keys, "--json"],
    { HEADRACE_CONSOLE_URL: url, HEADRACE_ADMIN_TOKEN: "t" },
    { interrupted },
  );

describe("a replay of many payloads", () => {
  test("is handed over in parts with progress, each key once", async () => {
    const { code, out, err } = await replay();
    expect(code).toBe(0);
    expect(requests.map(({ length }) => length)).toEqual([100, 100, 50]);
    expect(requests.flat()).toEqual(keys);
    expect(JSON.parse(out)).toEqual({ taken: keys, missing: [] });
    expect(err).toContain("replayed 250/250");
  });

  test("that is interrupted ends between two parts, says how far it came, and is asked for again", async () => {
    const interrupt = new AbortController();
    onRequest = () => requests.length === 2 && setImmediate(() => interrupt.abort());
    const { code, err } = await replay(interrupt.signal);
    expect(code).toBe(130);
    expect(err).toMatch(/interrupted \(after [12]00 of 250; run the same command again to continue\)/);
    expect(requests.length).toBe(2);
    onRequest = () => {};
    expect((await replay()).code).toBe(0);
  });

  test("that fails on the way says what failed", async () => {
    failsAt = 2;
    const { code, err } = await replay();
    expect(err).toContain("the console answered 503: R2 cannot be reached (after 100 of 250;");
    expect(code).toBe(3);
    expect(requests.length).toBe(2);
  });
});
