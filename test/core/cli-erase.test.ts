/** `headrace erase --trace`: whose payloads it takes, against a console that answers as the product's does. */
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { formatPayloadKey } from "../../shared/payload-key.ts";
import { doorbell, idAt, startMs } from "../ledger/world.ts";
import { headrace } from "../wrangler/cli-run.ts";

const trace = "5b8efff798038103d269b633813fc60c";
const acme = doorbell({ n: 1 }).key;
const beta = formatPayloadKey(startMs, "beta", idAt(2));
/** Dead letters: with spans of the trace, without, and one that cannot be read. */
const died = [3, 4, 5].map((n) => formatPayloadKey(startMs, n === 4 ? "beta" : "acme", idAt(n)));
let letters: readonly string[] = [];
let inFlight = 0;
let server: Server;
let url = "";
let erased: unknown[] = [];
/** Whose spans the trace has, and whose payloads are named. */
let tenants: readonly string[] = [];
let payloads: readonly string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (bytes: Buffer) => (body += bytes));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      if (request.url?.startsWith("/api/trace") === true) {
        const payload = (id: string, tenant: string, key: string) => ({
          payload: id,
          tenant,
          spans: 1,
          spansInAll: 5,
          receipts: [],
          keys: [key],
        });
        const both = [payload(idAt(1), "acme", acme), payload(idAt(2), "beta", beta)];
        const counts = { durationNs: 0, spansCount: 9, errorsCount: 0, spansUnlisted: 7, spansOfOthers: 0 };
        const nothing = { spans: [], resources: [], notes: [], tenant: null, tenants };
        const listed = both.filter(({ tenant }) => payloads.includes(tenant));
        response.end(
          JSON.stringify({ traceId: trace, start: null, payloads: listed, ...counts, ...nothing }),
        );
        return;
      }
      const { pathname, searchParams } = new URL(request.url ?? "", url);
      if (request.method === "GET") {
        const { status, answer } = unstored(pathname, searchParams.get("key") ?? "");
        response.statusCode = status;
        response.end(JSON.stringify(answer));
        return;
      }
      const asked = JSON.parse(body);
      erased.push(asked);
      response.end(JSON.stringify({ taken: asked.keys, missing: [] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});
afterAll(() => server.close());
beforeEach(() => {
  erased = [];
  letters = [];
  inFlight = 0;
  tenants = ["acme", "beta"];
  payloads = ["acme", "beta"];
});

/** What the console says of what no row names. */
function unstored(path: string, key: string): { readonly status: number; readonly answer: unknown } {
  switch (path) {
    case "/api/dead-letters": {
      const common = {
        reason: "decode",
        message: "",
        refusals: 1,
        spans: 1,
        record: "",
        at: "",
        from: "table",
      };
      return {
        status: 200,
        answer: letters.map((one) => ({ ...common, key: one, tenant: one.split("/")[4] })),
      };
    }
    case "/api/in-flight":
      return {
        status: 200,
        answer: { waiting: inFlight, groupsCount: 0, payloads: 0, oldestArrival: null, groups: [] },
      };
    default: {
      const common = { key, arrival: "", type: "pb", encoding: "gzip", bytes: 1, spans: [], failure: "" };
      return key === died[2]
        ? { status: 409, answer: { error: "damaged" } }
        : { status: 200, answer: { ...common, spansCount: key === died[0] ? 2 : 0 } };
    }
  }
}

const erase = (...flags: readonly string[]) =>
  headrace(["erase", "--trace", trace, "--reason", "a test", ...flags], {
    HEADRACE_CONSOLE_URL: url,
    HEADRACE_ADMIN_TOKEN: "x".repeat(32),
  });

test("an erasure by trace that cannot name all payloads at once says so", async () => {
  const { out } = await erase("--all-tenants");
  expect(out).toContain("THIS IS NOT ALL OF IT: 7 spans came in further payloads than the 2");
  expect(out).toContain("Run this again when these are erased.");
});

test("of a tenant whose payloads are all behind those of others the output says where they are, and not to wait for these", async () => {
  const { out, code } = await erase("--tenant", "gamma", "--yes");
  expect(code).toBe(1);
  expect(out).toContain("None of these 2 is gamma's: take the keys of gamma's from SELECT key FROM");
  expect(out).not.toContain("Run this again");
});

test("a trace of several tenants is not erased, whatever is agreed to, until it is said whose", async () => {
  for (const flags of [[], ["--yes"], ["--yes", "--json"]]) {
    const { code, err } = await erase(...flags);
    expect(err).toContain(
      "this trace's id is 2 tenants': acme, beta. Nothing was erased: pass --tenant NAME",
    );
    expect(code).toBe(2);
  }
  payloads = ["acme"]; // those of the other one are behind all that can be named at once
  expect(await erase("--yes")).toMatchObject({
    code: 2,
    err: expect.stringContaining("2 tenants': acme, beta"),
  });
  expect(erased).toEqual([]);
});

test("with --all-tenants every tenant that it would touch is named before it is agreed to, and all of it goes", async () => {
  const { code, out, err } = await erase("--all-tenants");
  expect(out).toContain("THIS TOUCHES 2 TENANTS: acme, beta");
  expect(err).toContain("2 keys of acme, beta will be erased for good");
  expect(code).toBe(2); // nobody is there to agree
  expect(erased).toEqual([]);
  expect(await erase("--all-tenants", "--yes")).toMatchObject({ code: 0 });
  expect(erased).toEqual([expect.objectContaining({ keys: [acme, beta] })]);
  expect(await erase("--all-tenants", "--tenant", "acme", "--yes")).toMatchObject({ code: 2 });
});

test("a trace is another tenant's too where all that it has of it are dead letters", async () => {
  tenants = ["beta"];
  payloads = ["beta"];
  letters = died;
  const { code, err } = await erase("--yes");
  expect(err).toContain("this trace's id is 2 tenants': acme, beta");
  expect(code).toBe(2);
  expect(erased).toEqual([]);
});

test("a trace of one tenant is erased as it is", async () => {
  tenants = ["acme"];
  payloads = ["acme"];
  const { code, out } = await erase("--yes");
  expect(code).toBe(0);
  expect(out).not.toContain("TENANTS");
  expect(erased).toEqual([expect.objectContaining({ keys: [acme] })]);
});

test("with --tenant only that tenant's payloads go, and whose stay is said", async () => {
  const { code, out } = await erase("--tenant", "acme", "--yes");
  expect(code).toBe(0);
  expect(out).toContain("payloads of other tenants with this trace id stay: beta");
  expect(out).not.toContain("THIS TOUCHES");
  expect(erased).toEqual([expect.objectContaining({ keys: [acme], reason: "a test" })]);
});

test("a tenant without payloads of the trace has nothing to erase", async () => {
  expect(await erase("--tenant", "gamma", "--yes")).toMatchObject({ code: 1 });
  expect(erased).toEqual([]);
});

test("dead letters are looked into, for no row names what they have of the trace", async () => {
  letters = died;
  const { code, out } = await erase("--tenant", "acme", "--yes");
  expect(code).toBe(0);
  expect(erased).toEqual([{ keys: [died[0], acme], reason: "a test" }]);
  expect(out).toContain(`1 dead letter with spans of this trace:\n${died[0]}`);
  expect(out).toContain(`1 dead letter cannot be read, and may have spans of this trace`);
  expect(out).toContain(died[2]);
});

test("more dead letters than one answer lists are not all looked into, and that is said", async () => {
  letters = Array.from({ length: 1000 }, (_, n) => formatPayloadKey(startMs, "beta", idAt(10 + n)));
  expect((await erase("--tenant", "acme", "--yes")).out).toContain("Only the newest 1000 dead letters");
});

test("what is in flight may bring more of a trace, and that is said", async () => {
  inFlight = 2;
  expect((await erase("--tenant", "acme", "--yes")).out).toContain(
    "2 payloads in flight may bring more of it: run this again when `headrace status` has none",
  );
});
