/** The CLI against a pipeline of its own, healthy and broken. */
import { createServer } from "node:http";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { describe, expect, test, vi } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { formatApiKey } from "../../shared/api-key.ts";
import { type RouteName, routeNames } from "../../shared/console/routes.ts";
import { type PayloadOutcome, payloadOutcomes } from "../../shared/outcome.ts";
import { readExposition } from "../console/exposition.ts";
import { disagreementWith } from "../console/openapi-check.ts";
import { putSegment } from "../fixtures/put-segment.ts";
import { headrace } from "../wrangler/cli-run.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

// Each payload has an object of its own, which tests read, damage and put again: whatever is sent at once.
const local = useLocalPipeline({ crons: false, events: false }, () => ({
  ledgerTimesFaster: "30",
  collect: { COLLECT: "off" },
}));

const cli = (...argv: string[]) => headrace(argv, { HEADRACE_STATE: local.folder });
const jsonOf = async (...argv: string[]) => JSON.parse((await cli(...argv, "--json")).out);

async function storedKey(): Promise<{ readonly key: string; readonly trace: string }> {
  const spans = freshSpans(30, 2);
  const trace = spans[0]?.spanContext().traceId ?? "";
  await exportSpans(local.pipeline, spans);
  await local.eventually(`SELECT count() > 0 FROM otel_traces WHERE TraceId = '${trace}'`, "1", 20_000);
  const receipt = `SELECT key FROM headrace_receipts WHERE outcome = 'stored' AND payload IN
    (SELECT HeadracePayload FROM otel_traces WHERE TraceId = '${trace}')`;
  await local.eventually(`SELECT count() FROM (${receipt})`, "1", 20_000);
  const key = await local.query(receipt);
  await isDone(key);
  return { key, trace };
}

/** A receipt is in its table before the view by which it is found by its id has it, and the ledger is done behind both. */
async function isDone(key: string): Promise<void> {
  const read = async () => await jsonOf("payload", "show", key);
  await expect.poll(read, { timeout: 15_000, interval: 200 }).toMatchObject({ ledger: { at: "done" } });
}

describe("doctor", () => {
  test("finds nothing bad in a healthy pipeline, and its canaries became rows with every attribute", async () => {
    const { code, out } = await cli("doctor");
    expect(out).not.toContain("BAD");
    expect(out).toMatch(/good +canary protobuf +rows after/);
    expect(out).toMatch(/good +canary json +rows after/);
    expect(out).toMatch(/good +r2 create-only put/);
    expect(code).toBe(0);
    expect(
      await local.query(
        "SELECT count(), uniqExact(SpanAttributes['db.query.text']) FROM otel_traces WHERE ServiceName = 'headrace-doctor'",
      ),
    ).toBe("4\t1");
  });

  test("says of a table without a window, a TTL that eats spans and a lost projection what fixes each, and it does", async () => {
    await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0");
    await local.query("ALTER TABLE otel_traces MODIFY TTL toDateTime(Timestamp) + toIntervalDay(3)");
    await local.query("ALTER TABLE otel_traces DROP PROJECTION headrace_counts SETTINGS mutations_sync = 1");
    const broken = await jsonOf("doctor", "--no-canary");
    const ofTable = ["clickhouse window", "clickhouse projection", "clickhouse TTL"];
    const bad = broken.checks.filter(({ check }: { check: string }) => ofTable.includes(check));
    // A short TTL is no fault: the ingress knows it, and refuses by name what it would drop.
    expect(bad.map(({ check, verdict }: { check: string; verdict: string }) => [check, verdict])).toEqual([
      ["clickhouse window", "bad"],
      ["clickhouse projection", "bad"],
      ["clickhouse TTL", "warning"],
    ]);
    for (const { mend } of bad) {
      for (const statement of mend.split("; ")) {
        await local.query(statement);
      }
    }
    const mended = await jsonOf("doctor", "--no-canary");
    expect(mended.ok).toBe(true);
    await local.query("ALTER TABLE otel_traces REMOVE TTL");
  });

  test("tells a wrong key from a closed door from a firewall", async () => {
    const doctor = (env: Record<string, string>, ...flags: string[]) =>
      headrace(["doctor", ...flags], { HEADRACE_STATE: local.folder, ...env });
    const wrongKey = await doctor({ HEADRACE_KEY: formatApiKey(new Uint8Array(52)) });
    expect(wrongKey.out).toMatch(/BAD +canary json +401: /);
    expect(wrongKey.code).toBe(1);

    const closed = await doctor({}, "--otlp", "http://127.0.0.1:9");
    expect(closed.out).toMatch(/BAD +canary protobuf +no answer from http:\/\/127\.0\.0\.1:9 \(/);

    // A firewall in front of the ingress, that takes offence at what looks like SQL.
    const firewall = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", async () => {
        const body = Buffer.concat(chunks);
        if (body.includes("OR 1=1")) {
          response.writeHead(403, { "content-type": "text/html" });
          response.end("<html>Sorry, you have been blocked</html>");
          return;
        }
        const answer = await fetch(`${local.pipeline.otlp}${request.url}`, {
          method: "POST",
          body,
          headers: {
            "content-type": request.headers["content-type"] ?? "",
            authorization: request.headers.authorization ?? "",
          },
        });
        response.writeHead(answer.status, {
          "content-type": answer.headers.get("content-type") ?? "",
          "x-headrace-payload": answer.headers.get("x-headrace-payload") ?? "",
        });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
    await new Promise<void>((resolve) => firewall.listen(0, "127.0.0.1", resolve));
    const address = firewall.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    try {
      const blocked = await doctor({}, "--otlp", `http://127.0.0.1:${port}`);
      expect(blocked.out).toMatch(/BAD +canary json +403 .*a firewall rule drops spans/);
      expect(blocked.out).toContain("add a skip rule (WAF custom rule, action Skip");
    } finally {
      firewall.close();
    }
  });
});

describe("status", () => {
  test("is 0 when everything adds up, and 1 with the key named when a payload is missing", async () => {
    const { key } = await storedKey();
    const well = await cli("status", "--behind", "100000");
    expect(well.out).toMatch(/^balanced: \d+ accepted = /);
    expect(well.out).toContain("\nNo zone is in front of the ingress");
    expect(well.code).toBe(0);
    expect((await cli("status", "--quiet", "--behind", "100000")).out).toBe("");

    // An object that nobody rang, and whose receipt is lost: a ledger that forgot would not hold it either.
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
    const lost = key.replace(/^p\/0\/t\/\d{4}/, "p/0/t/2026").replace("/dev/", "/lost/");
    const object = await bucket.get(key);
    await bucket.put(lost, (await object?.text()) ?? "", { customMetadata: object?.customMetadata ?? {} });
    const bad = await cli("status", "--behind", "100000");
    expect(bad.out).toContain("NOT BALANCED");
    expect(bad.out).toContain(lost);
    expect(bad.code).toBe(1);
    await bucket.delete(lost);
  });

  test("is 1 when the watermark is too far behind", async () => {
    const { code, out } = await cli("status", "--behind", "0");
    expect(out).toContain("WATERMARK");
    expect(code).toBe(1);
  });
});

// Each waits for its fence (7 s of these 30 times faster ones): they wait beside each other.
describe.concurrent("a payload", () => {
  test("payload show tells every step with its time, by key and by id", async () => {
    const { key } = await storedKey();
    const { code, out } = await cli("payload", "show", key);
    expect(code).toBe(0);
    const steps = out.split("\n").filter((line) => /^\d{4}-\d\d-\d\dT/.test(line));
    expect(steps.map((line) => line.slice(26).replace(/:.*/, ""))).toEqual([
      "its body was complete at the ingress",
      "R2 kept it",
      "receipt",
      "the ledger was done with it",
    ]);
    expect(steps.toSorted()).toEqual(steps);
    expect(out).toContain("30 on ");
    const byId = await jsonOf("payload", "show", key.slice(-26));
    expect(byId).toMatchObject({ keys: [key], tenant: "dev", ledger: { at: "done", outcome: "stored" } });
    expect((await cli("payload", "show", `${"1".repeat(25)}0`)).code).toBe(1); // beside this one others use zeros
    expect(await cli("payload", "show", "nonsense")).toMatchObject({ code: 2 });
  });

  test("a dead letter is listed, shown, replayed without harm, and purged only when that was said", async () => {
    const { key } = await storedKey();
    // The object is damaged while its payload is notified again under another minute: it cannot be decoded, and is dead-lettered.
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
    const object = await bucket.head(key);
    const dead = `p/0/t/${key.slice(6, 21)}/dev/${"0".repeat(26)}`;
    await bucket.put(dead, "this is not gzip", { customMetadata: object?.customMetadata ?? {} });
    expect((await cli("reconcile")).code).toBe(0);
    await local.eventually(`SELECT count() FROM headrace_receipts WHERE key = '${dead}'`, "1", 20_000);

    const list = await cli("dead-letters", "list");
    expect(list.out).toContain(dead);
    expect(list.code).toBe(1);
    expect((await cli("dead-letters", "list", "--cause", "rejected:")).code).toBe(0);
    const shown = await cli("dead-letters", "show", dead);
    expect(shown.out).toMatch(/reason +decode/);

    expect(await cli("dead-letters", "purge", dead)).toMatchObject({ code: 2 });
    const unsaid = await cli("dead-letters", "purge", dead, "--reason", "a test");
    expect(unsaid.err).toContain("1 payload will be erased for good: pass --yes");
    expect(unsaid.out).toContain(dead);
    expect(await jsonOf("dead-letters", "list")).toHaveLength(1);

    const replayed = await jsonOf("dead-letters", "replay", "--all");
    expect(replayed).toEqual({ taken: [dead], missing: [] });
    const purged = await jsonOf("dead-letters", "purge", "--all", "--reason", "a test", "--yes");
    expect(purged).toEqual({ taken: [dead], missing: [] });
    await local.eventually(
      `SELECT outcome, reason FROM headrace_receipts FINAL WHERE key = '${dead}'`,
      "erased\ta test",
      30_000,
    );
    await vi.waitFor(async () => expect(await bucket.head(dead)).toBeNull(), { timeout: 10_000 });
    const again = await cli("dead-letters", "replay", "--all");
    expect(again.err).toContain("there is nothing to do");
    expect(again.code).toBe(0);
  });

  test("erase by trace names what goes with it, and leaves a receipt, no object and no row", async () => {
    const { key, trace } = await storedKey();
    const plan = await cli("erase", "--trace", trace, "--reason", "asked for");
    expect(plan.code).toBe(2);
    expect(plan.out).toMatch(/spans of the trace +spans in all/);
    const erased = await jsonOf("erase", "--trace", trace, "--reason", "asked for", "--yes");
    expect(erased).toEqual({ taken: [key], missing: [] });
    await local.eventually(`SELECT count() FROM otel_traces WHERE TraceId = '${trace}'`, "0", 30_000);
    await local.eventually(
      `SELECT outcome FROM headrace_receipts FINAL WHERE key = '${key}'`,
      "erased",
      20_000,
    );
    expect((await cli("erase", "--trace", trace, "--reason", "asked for")).code).toBe(1);
  });

  test("erase by tenant pages through everything of it and touches nobody else", async () => {
    const kept = await storedKey();
    const made = await jsonOf("keys", "create", "--tenant", "leaver", "--name", "leaver");
    const door = { otlp: local.pipeline.otlp, key: made.key };
    await exportSpans(door, freshSpans(5));
    await exportSpans(door, freshSpans(7));
    await local.eventually("SELECT count() FROM headrace_receipts WHERE tenant = 'leaver'", "2", 20_000);
    const run = await cli("erase", "--tenant", "leaver", "--reason", "contract ended", "--yes");
    expect(run.out).toContain("leaver still has 1 active key");
    expect(run.out).toContain("2 keys of leaver with 12 spans");
    expect(run.code).toBe(0);
    await local.eventually("SELECT count() FROM otel_traces WHERE HeadraceTenant = 'leaver'", "0", 30_000);
    expect(await local.query(`SELECT count() FROM otel_traces WHERE TraceId = '${kept.trace}'`)).not.toBe(
      "0",
    );
  });
});

/** What is left of payloads after 37 days, where the table has no TTL: their rows. */
async function outlived(...keys: readonly string[]): Promise<void> {
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  await bucket.delete([...keys]);
  await local.query(
    `ALTER TABLE headrace_receipts DELETE WHERE key IN ('${keys.join("','")}') SETTINGS mutations_sync = 1`,
  );
}

/** One request, with a span per time (ms since the epoch). */
async function sendSpans(key: string, times: readonly number[]): Promise<void> {
  const hex = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");
  const spans = times.map((at) => ({
    traceId: hex(16),
    spanId: hex(8),
    name: "old",
    startTimeUnixNano: `${at}000000`,
    endTimeUnixNano: `${at}000000`,
  }));
  const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  });
  expect(response.status).toBe(200);
}

test("erase by trace takes dead letters that have its spans", async () => {
  const { key: other } = await storedKey();
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  const { customMetadata = {} } = (await bucket.head(other)) ?? {};
  const spans = freshSpans(3);
  const trace = spans[0]?.spanContext().traceId ?? "";
  // Its spans can be read, and then it breaks off.
  const body = Buffer.concat([
    ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(),
    Buffer.of(10, 99),
  ]);
  const key = `p/0/t/${other.slice(6, 21)}/dev/${"7".repeat(25)}0`;
  await bucket.put(key, body, { customMetadata: { ...customMetadata, type: "pb", encoding: "identity" } });
  expect((await cli("reconcile")).code).toBe(0);
  const outcome = `SELECT outcome FROM headrace_receipts FINAL WHERE key = '${key}'`;
  await local.eventually(outcome, "dead", 20_000);
  // Its row comes behind its receipt; until then it is in flight.
  await local.eventually(`SELECT count() FROM headrace_dead_letters WHERE key = '${key}'`, "1", 10_000);
  const { taken, missing } = await jsonOf("erase", "--trace", trace, "--reason", "asked for", "--yes");
  expect({ taken, missing }).toEqual({ taken: [key], missing: [] });
  await local.eventually(outcome, "erased", 30_000);
  await vi.waitFor(async () => expect(await bucket.head(key)).toBeNull(), { timeout: 10_000 });
});

// Behind the others: a payload that comes alone has an object of its own, which can be deleted.

test("erase by trace takes payloads whose receipts have expired, and leaves a receipt that says so", async () => {
  const { key, trace } = await storedKey();
  await outlived(key);
  const anothers = `p/0/t/2026-11-24T0741/another/${key.slice(-26)}`;
  expect(await jsonOf("erase", "--key", anothers, "--reason", "a mistake", "--yes")).toEqual({
    taken: [],
    missing: [anothers],
  });
  const { taken, missing } = await jsonOf("erase", "--trace", trace, "--reason", "asked for", "--yes");
  expect(missing).toEqual([]);
  expect(taken).toEqual([expect.stringMatching(`/dev/${key.slice(-26)}$`)]);
  await local.eventually(`SELECT count() FROM otel_traces WHERE TraceId = '${trace}'`, "0", 30_000);
  await local.eventually(
    `SELECT outcome, reason FROM headrace_receipts FINAL WHERE key = '${taken[0]}'`,
    "erased\tasked for",
    10_000,
  );
});

test("erase by tenant takes payloads whose receipts have expired, of all of its days", async () => {
  const made = await jsonOf(
    ...["keys", "create", "--tenant", "old-leaver", "--name", "old", "--span-age-days", "60"],
  );
  const ago = (days: number) => Date.now() - days * 86_400_000;
  for (const days of [[50], [49, 40], [3]]) {
    await sendSpans(made.key, days.map(ago));
  }
  const receipted = "SELECT count() FROM headrace_receipts WHERE tenant = 'old-leaver'";
  await local.eventually(receipted, "3", 20_000);
  const keys = (
    await local.query("SELECT key FROM headrace_receipts WHERE tenant = 'old-leaver' ORDER BY key")
  ).split("\n");
  for (const key of keys) {
    await vi.waitFor(async () => expect((await jsonOf("payload", "show", key)).ledger.at).toBe("done"), {
      timeout: 15_000,
      interval: 200,
    });
  }
  await outlived(...keys.slice(0, 2));
  const { missing } = await jsonOf("erase", "--tenant", "old-leaver", "--reason", "contract ended", "--yes");
  expect(missing).toEqual([]);
  await local.eventually("SELECT count() FROM otel_traces WHERE HeadraceTenant = 'old-leaver'", "0", 30_000);
  const erased =
    "SELECT uniqExact(payload) FROM headrace_receipts FINAL WHERE tenant = 'old-leaver' AND outcome = 'erased'";
  await local.eventually(erased, "3", 30_000);
});

test("payloads of a segment come in by its event, are shown, listed, replayed without harm and add up, each by its key", async () => {
  const before = (await jsonOf("status")).balance;
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  const openedAt = Date.now();
  const bodyOf = (run: string) =>
    ProtobufTraceSerializer.serializeRequest(freshSpans(10, 1, { "test.run": run })) ?? new Uint8Array();
  const { segment, keys, size } = await putSegment(bucket, openedAt, [
    { tenant: "dev", body: bodyOf("segment-0") },
    { tenant: "neighbour", body: bodyOf("segment-1") },
    { tenant: "dev", body: bodyOf("segment-2") },
  ]);
  const [first = "", second = "", third = ""] = keys;
  const lost = await jsonOf("status");
  expect(lost.balance).toMatchObject({ balanced: false, missing: keys, unnamed: 0 });
  expect(lost.balance.accepted).toBe(before.accepted + 3);

  const events = await local.pipeline.workers.getQueueProducer("EVENTS", workerNames.consumer);
  const object = { key: segment, size, eTag: "c846ff7a18f28c2e262116d6e8719ef0" };
  await events.send({ account: "a", action: "PutObject", bucket: "b", object, eventTime: "now" });
  const rows = `SELECT HeadraceTenant, ResourceAttributes['test.run'], count(), uniqExact(SpanId) FROM otel_traces
    WHERE ResourceAttributes['test.run'] LIKE 'segment-%' GROUP BY ALL ORDER BY 2`;
  const stored = "dev\tsegment-0\t10\t10\nneighbour\tsegment-1\t10\t10\ndev\tsegment-2\t10\t10";
  await local.eventually(rows, stored, 30_000);
  const receipts = `SELECT key, outcome FROM headrace_receipts FINAL WHERE key LIKE '${segment}/%' ORDER BY key`;
  await local.eventually(receipts, keys.map((key) => `${key}\tstored`).join("\n"), 20_000);
  await isDone(second);

  const shown = await cli("payload", "show", second);
  expect(shown.out).toContain(`${second}  (stored; `);
  expect(shown.out).toContain("bytes in R2, in a segment of 3 payloads)");
  expect(shown.code).toBe(0);
  expect(await jsonOf("payload", "show", second.slice(-26))).toMatchObject({
    keys: [second],
    tenant: "neighbour",
    presence: "present",
    receipts: [{ key: second, outcome: "stored", spans: 10 }],
  });
  const minute = new Date(openedAt).toISOString().slice(0, 16);
  const { console: address, adminToken } = local.pipeline;
  const ask = async (path: string) => {
    const headers = { authorization: `Bearer ${adminToken}` };
    return JSON.parse(await (await fetch(`${address}/api/${path}`, { headers })).text());
  };
  const listed = await ask(`minute-payloads?minute=${minute}`);
  expect(listed.payloads).toEqual(
    expect.arrayContaining(keys.map((key) => expect.objectContaining({ key, outcome: "stored" }))),
  );
  expect((await ask("payloads?tenant=neighbour")).keys).toEqual([second]);
  const { spans } = await ask(`payload-spans?key=${encodeURIComponent(third)}`);
  expect(spans).toHaveLength(10);

  expect(await jsonOf("dead-letters", "replay", first)).toEqual({ taken: [first], missing: [] });
  expect((await cli("forget", third)).out).toContain(`nothing was done about ${third}`);
  const erased = await jsonOf("erase", "--tenant", "neighbour", "--reason", "contract ended", "--yes");
  expect(erased).toEqual({ taken: [second], missing: [] });
  const others = `SELECT key, outcome FROM headrace_receipts FINAL WHERE key LIKE '${segment}/%' ORDER BY key`;
  await local.eventually(others, `${first}\tstored\n${second}\terased\n${third}\tstored`, 30_000);
  await vi.waitFor(async () => expect((await jsonOf("status")).balance.inFlight).toBe(0), {
    timeout: 20_000,
    interval: 200,
  });
  expect(await local.query(rows)).toBe("dev\tsegment-0\t10\t10\ndev\tsegment-2\t10\t10");
  // How each ended is seen above; an erasure of the tests before may end meanwhile, and changes no sum.
  expect((await jsonOf("status")).balance).toMatchObject({
    balanced: true,
    accepted: before.accepted + 3,
    missing: [],
    unnamed: 0,
  });
  expect((await cli("payload", "show", second)).out).toContain(`${second}  (erased; no object in R2)`);
  expect(await cli("resolve", first, "accept")).toMatchObject({
    code: 1,
    out: expect.stringContaining("is not held"),
  });
}, 90_000);

/** How payloads ended, as one of those says that add up. */
type Sums = Readonly<Record<PayloadOutcome | "in_flight", number>>;
const outcomes = [...payloadOutcomes, "in_flight"] as const;

function sumsOf(count: (outcome: Outcome) => number): Sums {
  return Object.fromEntries(outcomes.map((outcome) => [outcome, count(outcome)])) as Sums;
}
type Outcome = (typeof outcomes)[number];

/** What the page, the CLI, /metrics and SQL say at this moment, each by itself. */
async function saidSums(): Promise<Readonly<Record<"page" | "cli" | "metrics" | "sql", Sums>>> {
  const { console: address, adminToken } = local.pipeline;
  const get = async (path: string) => {
    const response = await fetch(`${address}${path}`, { headers: { authorization: `Bearer ${adminToken}` } });
    return await response.text();
  };
  const [minutes, metrics, { balance }, receipts] = await Promise.all([
    get("/api/minutes?hours=24").then(JSON.parse),
    get("/metrics").then(readExposition),
    jsonOf("status"),
    local.query("SELECT outcome, count() FROM headrace_receipts FINAL GROUP BY outcome"),
  ]);
  const named = (outcome: Outcome) => (outcome === "in_flight" ? "inFlight" : outcome);
  const rows = new Map(receipts.split("\n").map((row) => [row.split("\t")[0], Number(row.split("\t")[1])]));
  return {
    page: sumsOf((outcome) =>
      minutes.steps.reduce(
        (sum: number, step: Record<string, number>) => sum + (step[named(outcome)] ?? 0),
        0,
      ),
    ),
    cli: sumsOf((outcome) => balance[named(outcome)]),
    metrics: sumsOf((outcome) =>
      metrics
        .filter(({ name, labels }) => name === "headrace_month_payloads" && labels["outcome"] === outcome)
        .reduce((sum, { value }) => sum + value, 0),
    ),
    // SQL knows what has ended.
    sql: sumsOf((outcome) => (outcome === "in_flight" ? balance.inFlight : (rows.get(outcome) ?? 0))),
  };
}

/** All four say the same. They are asked one after the other, so while something ends they are asked again. */
async function agreedSums(): Promise<Sums> {
  let page: Sums | undefined;
  await vi.waitFor(
    async () => {
      const said = await saidSums();
      expect(said).toEqual({ page: said.page, cli: said.page, metrics: said.page, sql: said.page });
      page = said.page;
    },
    { timeout: 10_000, interval: 100 },
  );
  return page ?? sumsOf(() => 0);
}

test("page, CLI, SQL and /metrics say the same sums through replay, purge, erasure, decision and a late put", async () => {
  const { key: model } = await storedKey();
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
  const object = await bucket.get(model);
  const good = new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer(0));
  const minute = new Date(Date.now() - 10 * 60_000).toISOString().slice(0, 16).replace(":", "");
  // Of a minute that was passed by long ago: what is stored of it comes after its seal.
  const keyOf = (n: number) => `p/0/t/${minute}/dev/${String(n).repeat(25)}0`;
  const put = async (n: number, body: Uint8Array) => {
    await bucket.put(keyOf(n), body, { customMetadata: object?.customMetadata ?? {} });
  };
  const ended = (n: number, outcome: string) =>
    local.eventually(
      `SELECT outcome FROM headrace_receipts FINAL WHERE key = '${keyOf(n)}'`,
      outcome,
      60_000,
    );
  const before = await agreedSums();
  const noGzip = new TextEncoder().encode("this is not gzip");
  for (const [n, body] of [good, good, noGzip, noGzip].entries()) {
    await put(n + 1, body);
  }
  await cli("dead-letters", "replay", ...[1, 2, 3, 4].map(keyOf));
  await Promise.all([ended(1, "stored"), ended(2, "stored"), ended(3, "dead"), ended(4, "dead")]);
  const late = await agreedSums();
  expect(late).toEqual({ ...before, stored: before.stored + 2, dead: before.dead + 2 });
  await cli("reconcile");
  expect(await agreedSums(), "sealed anew").toEqual(late);

  // Rows of one go, and the ledger is asked to look: it holds the payload for a person.
  await local.query(
    `ALTER TABLE otel_traces DELETE WHERE hex(HeadracePayload) = hex((SELECT any(payload) FROM headrace_receipts WHERE key = '${keyOf(2)}'))
      AND SpanId IN (SELECT min(SpanId) FROM otel_traces WHERE HeadracePayload = (SELECT any(payload) FROM headrace_receipts WHERE key = '${keyOf(2)}'))
      SETTINGS mutations_sync = 2`,
  );
  await put(3, good);
  await put(5, good);
  // At once: while a fence is waited for, 7 s, all of it is under way. What has a receipt counts by that, what has none is in flight.
  await Promise.all([
    cli("forget", keyOf(2)),
    cli("dead-letters", "replay", keyOf(3), keyOf(5)),
    cli("dead-letters", "purge", keyOf(4), "--reason", "a test", "--yes"),
    cli("erase", "--key", keyOf(1), "--reason", "a test", "--yes"),
    cli("erase", "--key", model, "--reason", "a test", "--yes"),
  ]);
  await vi.waitFor(async () => expect(await agreedSums()).toEqual({ ...late, in_flight: 1 }), 5000);
  await Promise.all([ended(3, "stored"), ended(5, "stored"), ended(4, "erased"), ended(1, "erased")]);
  await local.eventually(
    `SELECT outcome FROM headrace_receipts FINAL WHERE key = '${model}'`,
    "erased",
    30_000,
  );
  await vi.waitFor(async () => expect(await heldKeys()).toContain(keyOf(2)), {
    timeout: 20_000,
    interval: 200,
  });
  expect((await cli("resolve", keyOf(2), "accept")).code).toBe(0);
  await vi.waitFor(async () => expect(await heldKeys()).toEqual([]), { timeout: 20_000, interval: 200 });
  const after = await agreedSums();
  expect(after).toEqual({ ...late, stored: late.stored, dead: late.dead - 2, erased: late.erased + 3 });

  // The rows of the sealed minute say it too, once a run has sealed it anew.
  await cli("reconcile");
  expect(
    await local.query(
      `SELECT sum(accepted), sum(stored), sum(dead), sum(erased) FROM headrace_minutes FINAL
        WHERE sealed AND minute = parseDateTimeBestEffort('${minute.slice(0, 13)}:${minute.slice(13)}:00Z')`,
    ),
  ).toBe("5\t3\t0\t2");
  expect(await agreedSums()).toEqual(after);
}, 120_000);

async function heldKeys(): Promise<readonly string[]> {
  const response = await fetch(`${local.pipeline.console}/api/status`, {
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
  });
  const { held } = JSON.parse(await response.text());
  return held.map(({ key }: { readonly key: string }) => key);
}

test("a key is made, listed, changed, rotated and revoked by the beginning of its id", async () => {
  const made = await jsonOf(
    "keys",
    "create",
    "--tenant",
    "acme",
    "--name",
    "web",
    "--spans-per-second",
    "10",
  );
  const id = made.id.slice(0, 12);
  expect((await cli("keys", "list", "--tenant", "acme")).out).toContain(id);
  const changes = [
    "--spans-per-second",
    "none",
    "--bytes-per-second",
    "1000000",
    "--bytes-per-month",
    "5000000000",
  ];
  expect(await jsonOf("keys", "set", id, ...changes, "--sample", "0.5")).toMatchObject({
    spansPerSecond: null,
    bytesPerSecond: 1_000_000,
    burstBytes: null,
    bytesPerMonth: 5_000_000_000,
    sample: 0.5,
    name: "web",
  });
  const rotated = await jsonOf("keys", "rotate", id);
  expect(rotated).toMatchObject({ tenant: "acme", account: made.id });
  expect(rotated.key).toMatch(/^hr_/);
  expect(await cli("keys", "revoke", id)).toMatchObject({ code: 2 });
  expect(await jsonOf("keys", "revoke", id, "--yes")).toMatchObject({ status: "revoked" });
  expect((await cli("keys", "revoke", "00000000", "--yes")).err).toContain(
    "no key's id begins with 00000000",
  );
  expect((await cli("keys", "revoke", made.key, "--yes")).err).toContain("does not belong on a command line");
});

test("each route of the console answers as its OpenAPI document says", async () => {
  const { pipeline } = local;
  const headers = { authorization: `Bearer ${pipeline.adminToken}` };
  const ask = async (method: string, path: string, body?: object) => {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`${pipeline.console}${path}`, { method, headers, ...sent });
    return { status: response.status, said: JSON.parse(await response.text()) };
  };
  const document = await ask("GET", "/api/openapi.json");
  expect(document.status).toBe(200);
  const disagreement = disagreementWith(document.said);
  const { key, trace } = await storedKey();
  await local.eventually("SELECT count() > 0 FROM headrace_outcomes", "1", 20_000);
  const made = await ask("POST", "/api/keys", { tenant: "acme", name: "api", spansPerMonth: 5 });
  const id: string = made.said.id;
  const queries: Partial<Record<RouteName, string>> = {
    "GET /api/minute-payloads": `minute=${key.slice(6, 19)}:${key.slice(19, 21)}`,
    "GET /api/outcomes": "by=minute",
    "GET /api/payload": `id=${encodeURIComponent(key)}`,
    "GET /api/payload-spans": `key=${encodeURIComponent(key)}`,
    "GET /api/payloads": "tenant=dev",
    "GET /api/trace": `id=${trace}`,
    "GET /api/trace-shape": `id=${trace}`,
    "GET /api/trace-span": `trace=${trace}&span=${"0".repeat(16)}`,
    "GET /api/trace-values": "of=key",
    "GET /api/traces": "where=service.name&where=!nothing",
    "GET /api/usage": "tenant=dev",
  };
  const bodies: Partial<Record<RouteName, object>> = {
    "POST /api/keys": { tenant: "acme", name: "api" },
    "PATCH /api/keys/:id": { name: "other" },
    "POST /api/keys/:id/rotate": {},
    "POST /api/erase": { keys: [key], reason: "a test" },
    "POST /api/forget": { keys: [key, "nonsense"] },
    "POST /api/replay": { keys: [key, "nonsense"] },
    "POST /api/resolve": { key, how: "accept" },
  };
  // Erased or revoked last: what is asked before is answered of something.
  const isLast = (name: string) => /erase|revoke/.test(name);
  for (const name of [...routeNames].sort((a, b) => Number(isLast(a)) - Number(isLast(b)))) {
    const [method = "", path = ""] = name.split(" ");
    const query = queries[name] === undefined ? "" : `?${queries[name]}`;
    const { status, said } = await ask(method, `${path.replace("/:id", `/${id}`)}${query}`, bodies[name]);
    expect([status, disagreement(name, status, said)], name).toEqual([status < 300 ? status : 200, ""]);
  }
  const wrong = await ask("GET", "/api/minutes?hours=0");
  expect([wrong.status, disagreement("GET /api/minutes", 400, wrong.said)]).toEqual([400, ""]);
});

test("a wrong address and a wrong token are told apart, and which is named", async () => {
  const token = local.pipeline.adminToken;
  const at = (url: string, adminToken: string) =>
    headrace(["watermark"], { HEADRACE_CONSOLE_URL: url, HEADRACE_ADMIN_TOKEN: adminToken });
  const closed = await at("http://127.0.0.1:9", token);
  expect(closed.err).toContain("address from HEADRACE_CONSOLE_URL");
  expect(closed.code).toBe(3);
  const wrong = await at(local.pipeline.console, "wrong");
  expect(wrong.err).toContain("refuses the admin token (HEADRACE_CONSOLE_URL and HEADRACE_ADMIN_TOKEN)");
  expect(wrong.code).toBe(2);
  const other = await at(local.pipeline.otlp, token);
  expect(other.err).toContain("is it the console's address?");
  expect(other.code).toBe(3);
});
