/**
 * What a person sees of payloads in segments, and asks for: the console and the consumer's operations as they are, on a real R2 and
 * a real ledger. ClickHouse is a list of receipts (its statements run on a real one in test/engine and test/e2e).
 */
import { createExecutionContext, reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { deadLetterRow } from "../../../shared/clickhouse/dead-letters.ts";
import { keyChecksum } from "../../../shared/key-checksum.ts";
import { DAY_MS, limits } from "../../../shared/limits.ts";
import type { PayloadOutcome } from "../../../shared/outcome.ts";
import { idOfKey, objectOf, type PayloadKey, tenantOfKey } from "../../../shared/payload-key.ts";
import { isGroupId } from "../../../shared/receipt.ts";
import { indexBytes } from "../../../shared/segment/segment.ts";
import type { ConsoleBindings } from "../../../workers/console/bindings.ts";
import consoleWorker from "../../../workers/console/worker.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { copyDead, eraseObjects } from "../../../workers/consumer/erase-objects.ts";
import { Operations } from "../../../workers/consumer/worker.ts";
import { request, span, startMs, stringField } from "../../fixtures/protobuf.ts";
import { type NewPayload, type PutSegment, putSegment } from "../../fixtures/put-segment.ts";
import { codecVersion, knownTable } from "../../ledger/world.ts";

const real = given as unknown as ConsumerBindings & Pick<ConsoleBindings, "KEYS" | "METER">;
const adminToken = "token-of-the-operator-0123456789";

const receipts = new Map<PayloadKey, PayloadOutcome>();
/** What was read of R2, by its method. */
let asked: { readonly method: string; readonly key: unknown }[] = [];

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  receipts.clear();
  asked = [];
  for (const level of ["warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation(() => undefined);
  }
  vi.spyOn(globalThis, "fetch").mockImplementation(async (_, init) => answer(String(init?.body)));
  vi.spyOn(Date, "now").mockImplementation(() => startMs + 90_000);
});

/** As ClickHouse answers for these receipts. */
function answer(statement: string): Response {
  const noRows = statement.includes("min(Timestamp)") ? [{ rows: 0, day: 0 }] : [];
  const rows = statement.includes("headrace_receipts") ? rowsFor(statement) : noRows;
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  return new Response(text, { headers: { "x-clickhouse-summary": "{}" } });
}

function rowsFor(statement: string): readonly object[] {
  const keys = [...receipts.keys()].sort();
  if (statement.includes("AS segment")) {
    return [...Map.groupBy(keys, objectOf)].map(([segment, some]) => ({
      segment,
      payloads: some.length,
      checksum: String(keyChecksum(some.map(idOfKey))),
    }));
  }
  return keys.map((key) => ({
    key,
    outcome: receipts.get(key),
    tenant: tenantOfKey(key),
    spans: 1,
    reason: "",
    group_id: "",
    rejected_spans: 0,
    bytes: 1,
    at: startMs,
  }));
}

/** The real bucket; what is read of it is written down. */
const PAYLOADS = new Proxy(real.PAYLOADS, {
  get(target, method) {
    const call: unknown = Reflect.get(target, method, target);
    return typeof call !== "function"
      ? call
      : (...args: unknown[]) => {
          asked.push({ method: String(method), key: args[0] });
          return Reflect.apply(call, target, args);
        };
  },
});

async function ask(path: string, body?: object) {
  const CLICKHOUSE = { fetch: async (_: unknown, init: RequestInit) => answer(String(init.body)) };
  const bindings = { ...real, PAYLOADS, CLICKHOUSE } as unknown as ConsumerBindings;
  const env = {
    ...bindings,
    CONSUMER: new Operations(createExecutionContext(), bindings),
    ADMIN_TOKEN: adminToken,
  } as unknown as ConsoleBindings;
  const asking = new Request(`https://console.example/api/${path}`, {
    headers: { authorization: `Bearer ${adminToken}` },
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  const response = await consoleWorker.fetch(asking as Parameters<typeof consoleWorker.fetch>[0], env);
  return { status: response.status, said: JSON.parse(await response.text()) };
}

/** A payload that no other is like. */
function payload(tenant: string, n: number): NewPayload {
  return { tenant, body: request(span(stringField(5, `operation ${n}`))) };
}

/** Of a minute before now: three payloads of two tenants. */
const putThree = (): Promise<PutSegment> =>
  putSegment(real.PAYLOADS, startMs, [payload("acme", 1), payload("globex", 2), payload("acme", 3)]);

const minuteText = new Date(startMs).toISOString().slice(0, 16);

/** Two payloads in each. */
async function putMany(segments: number): Promise<readonly PayloadKey[]> {
  const put = await Promise.all(
    Array.from({ length: segments }, (_, n) =>
      putSegment(real.PAYLOADS, startMs + n, [payload("acme", 2 * n), payload("acme", 2 * n + 1)]),
    ),
  );
  return put.flatMap(({ keys }) => keys).sort();
}

function end(outcome: PayloadOutcome, ...keys: readonly (PayloadKey | undefined)[]): void {
  for (const key of keys) {
    receipts.set(key as PayloadKey, outcome);
  }
}

/** The ledger has it in flight. */
async function claim(key: PayloadKey | undefined): Promise<void> {
  const ledger = real.LEDGER.getByName("0");
  await ledger.tableChecked("", { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable });
  const counts = { spans: 1, outputBytes: 1000, arrival: startMs };
  await ledger.claim([{ v: 1, key: key as PayloadKey, cause: "ingress", ...counts }], codecVersion);
}

const indexesRead = () => asked.filter(({ method }) => method === "get").length;

describe("the balance", () => {
  test("counts the payloads of a segment, and reads no segment of which all have their receipts", async () => {
    const { keys } = await putThree();
    end("stored", keys[0], keys[2]);
    end("duplicate", keys[1]);
    const { said } = await ask("balance");
    expect(said).toMatchObject({ balanced: true, accepted: 3, stored: 2, duplicate: 1, unnamed: 0 });
    expect(indexesRead()).toBe(0);
  });

  test("names those that are missing by their keys, and knows those in flight", async () => {
    const { keys } = await putThree();
    end("stored", keys[0]);
    await claim(keys[1]);
    const { said } = await ask("balance");
    expect(said).toMatchObject({ balanced: false, accepted: 3, stored: 1, inFlight: 1, missing: [keys[2]] });
    expect(indexesRead()).toBe(1);
  });

  test("misses a payload whose place another's receipt has", async () => {
    const { keys } = await putThree();
    const [first = "", second = "", third = ""] = keys;
    end("stored", first as PayloadKey, second as PayloadKey);
    end("stored", third.replace(/.{26}$/, second.slice(-26)) as PayloadKey);
    expect((await ask("balance")).said).toMatchObject({ balanced: false, missing: [third] });
  });

  test("takes a payload for erased whose bytes are, and for unnamed one whose index entry is damaged", async () => {
    const { segment, keys } = await putThree();
    await eraseObjects(real.PAYLOADS, keys.slice(0, 1));
    const damaged = new Uint8Array((await (await real.PAYLOADS.get(segment))?.arrayBuffer()) ?? []);
    damaged.fill(7, indexBytes(2), indexBytes(2) + 20);
    await real.PAYLOADS.put(segment, damaged);
    end("stored", keys[1]);
    expect((await ask("balance")).said).toMatchObject({
      balanced: false,
      accepted: 3,
      stored: 1,
      erased: 1,
      missing: [],
      unnamed: 1,
    });
  });
});

test("an object under a segment's key that is cut off, to nothing even, costs its own payloads alone", async () => {
  for (const left of [0, 1, 31, 32, indexBytes(1) - 1]) {
    const { segment } = await putThree();
    const bytes = new Uint8Array((await (await real.PAYLOADS.get(segment))?.arrayBuffer()) ?? []);
    await real.PAYLOADS.put(segment, bytes.subarray(0, left));
  }
  const { keys } = await putThree();
  expect((await ask("balance")).said).toMatchObject({ accepted: 18, missing: [...keys].sort(), unnamed: 15 });
  expect((await pages("globex")).keys).toEqual([keys[1]]);
});

/** All keys of a tenant, and how many pages they came in. */
async function pages(tenant: string): Promise<{ readonly keys: readonly string[]; readonly count: number }> {
  const keys: string[] = [];
  let count = 0;
  for (let after: string | null = ""; after !== null; count++) {
    const { said } = await ask(`payloads?tenant=${tenant}&after=${encodeURIComponent(after)}`);
    keys.push(...said.keys);
    after = said.next;
  }
  return { keys, count };
}

describe("the keys of a tenant", () => {
  test("name dead letters that have outlived their receipts, while R2 has their bytes", async () => {
    const { segment, keys } = await putThree();
    const [first, , third] = keys;
    for (const key of [first, third]) {
      await copyDead(real.PAYLOADS, key as PayloadKey);
      await real.PAYLOADS.put(`dead/${key}`, "{}");
    }
    await real.PAYLOADS.delete(segment);
    await real.PAYLOADS.delete(`dead/${third}.copy`);
    expect((await pages("acme")).keys).toEqual([]); // their receipts name them
    vi.spyOn(Date, "now").mockImplementation(() => startMs + (limits.receiptsRetentionDays + 1) * DAY_MS);
    expect((await pages("acme")).keys).toEqual([first]);
    expect((await pages("globex")).keys).toEqual([]);
  });

  test("that have no receipt are its own alone, of a segment that others' payloads are in too", async () => {
    const { keys } = await putThree();
    expect((await pages("acme")).keys).toEqual([keys[0], keys[2]]);
    expect((await pages("globex")).keys).toEqual([keys[1]]);
  });

  test("are no more than those without receipt, in a segment of which some have theirs", async () => {
    const { keys } = await putThree();
    end("stored", keys[0]);
    const { said } = await ask(`payloads?tenant=acme&after=${encodeURIComponent("r2:p/0/t/2026")}`);
    expect(said).toMatchObject({ keys: [keys[2]], next: "dead:" });
  });
});

test("the payloads of a minute are listed one by one: unaccounted, in flight, and by their receipts", async () => {
  const { keys } = await putThree();
  end("stored", keys[0]);
  await claim(keys[1]);
  const { said } = await ask(`minute-payloads?minute=${minuteText}`);
  expect(said.payloads).toMatchObject([
    { key: keys[2], tenant: "acme", outcome: "unaccounted" },
    { key: keys[1], tenant: "globex", outcome: "in flight" },
    { key: keys[0], tenant: "acme", outcome: "stored" },
  ]);
  expect(said.notes).toEqual([]);
});

test("of more segments than one answer reads, it says how many payloads it could not name; keys of a tenant go on in another page", async () => {
  const keys = await putMany(limits.segmentIndexesRead + 3);
  const balance = (await ask("balance")).said;
  expect(balance).toMatchObject({ balanced: false, truncated: false, accepted: keys.length, unnamed: 6 });
  expect(balance.missing).toEqual(keys.slice(0, -6));
  expect(indexesRead()).toBe(limits.segmentIndexesRead);

  const { said } = await ask(`minute-payloads?minute=${minuteText}`);
  expect(said.payloads).toHaveLength(2 * limits.segmentIndexesRead);
  expect(said.notes.join(" ")).toContain("6 payloads without receipt are in segments that were not read");

  expect(await pages("acme")).toEqual({ keys, count: 5 });
});

describe("one payload of a segment", () => {
  test("is shown by its key and by its id: its own bytes and counts, and how many are beside it", async () => {
    const { keys } = await putThree();
    await claim(keys[1]);
    for (const text of [keys[1], keys[1]?.slice(-26)]) {
      const { said } = await ask(`payload?id=${text}`);
      expect(said).toMatchObject({
        tenant: "globex",
        keys: [keys[1]],
        objects: [
          {
            key: keys[1],
            bytes: payload("globex", 2).body.length,
            payloads: 3,
            metadata: { spans: 1, type: "pb", arrival: startMs },
          },
        ],
      });
      expect(said.steps.map(({ what }: { what: string }) => what).join("\n")).toContain(
        "beside 2 others in one object",
      );
    }
  });

  test("has its own spans, and nobody else's", async () => {
    const { keys } = await putThree();
    for (const [slot, n] of [1, 2, 3].entries()) {
      const { status, said } = await ask(`payload-spans?key=${keys[slot]}`);
      expect([status, said.bytes, said.spansCount]).toEqual([200, payload("acme", n).body.length, 1]);
      expect(said.spans).toMatchObject([{ name: `operation ${n}` }]);
    }
  });

  test("is not found under another tenant's name, another place, or once its bytes are erased", async () => {
    const { keys } = await putThree();
    const [key = ""] = keys;
    for (const wrong of [key.replace("/acme/", "/globex/"), key.replace("/000/", "/002/")]) {
      expect(await ask(`payload-spans?key=${wrong}`)).toMatchObject({ status: 404 });
      expect((await ask(`payload?id=${wrong}`)).said.objects).toEqual([]);
    }
    await eraseObjects(real.PAYLOADS, keys.slice(0, 1));
    expect(await ask(`payload-spans?key=${key}`)).toMatchObject({ status: 404 });
    expect((await ask(`payload?id=${key}`)).said.objects).toEqual([]);
    expect((await ask(`payload-spans?key=${keys[1]}`)).status).toBe(200);
  });

  test("that is dead is shown from its copy, where its segment is gone", async () => {
    const { segment, keys } = await putThree();
    await copyDead(real.PAYLOADS, keys[1] as PayloadKey);
    await real.PAYLOADS.delete(segment);
    const { said } = await ask(`payload-spans?key=${keys[1]}`);
    expect(said.spans).toMatchObject([{ name: "operation 2" }]);
    const { bytes } = said;
    expect((await ask(`payload?id=${keys[1]}`)).said.objects).toMatchObject([
      { key: keys[1], bytes, payloads: 1, metadata: { spans: 1 } },
    ]);
    expect((await ask(`payload-spans?key=${keys[0]}`)).status).toBe(404);
    expect((await ask(`payload?id=${keys[0]}`)).said.objects).toEqual([]);
  });

  test("whose bytes or entry are damaged is said to be, and its neighbours are shown", async () => {
    const { segment, keys } = await putThree();
    const bytes = new Uint8Array((await (await real.PAYLOADS.get(segment))?.arrayBuffer()) ?? []);
    bytes.fill(0, bytes.length - 5); // of the last body
    bytes.fill(0, indexBytes(0), indexBytes(0) + 9); // the first entry
    await real.PAYLOADS.put(segment, bytes);
    for (const slot of [0, 2]) {
      expect(await ask(`payload-spans?key=${keys[slot]}`)).toMatchObject({
        status: 409,
        said: { error: expect.stringContaining("damaged") },
      });
    }
    expect((await ask(`payload-spans?key=${keys[1]}`)).status).toBe(200);
    expect((await ask(`payload?id=${keys[0]}`)).said.objects).toMatchObject([
      { key: keys[0], bytes: null, metadata: null },
    ]);
  });
});

test("a dead letter of a segment is listed from its record while ClickHouse does not answer, and shown", async () => {
  const { keys } = await putThree();
  const key = keys[1] as PayloadKey;
  const group = "0".repeat(32);
  if (!isGroupId(group)) {
    throw new Error("that is a group's id");
  }
  const counts = { spans: 1, rowsByDay: [], rejectedSpans: 0, bytes: 10 };
  const receipt = { key, outcome: "dead", group, reason: "rejected:469", ...counts } as const;
  const row = deadLetterRow(receipt, null, startMs);
  expect(row.record).toBe(`dead/${key}`);
  await real.PAYLOADS.put(row.record, JSON.stringify(row));
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => Promise.reject(new Error("refused")));
  const CLICKHOUSE = { fetch: async () => Promise.reject(new Error("connection refused")) };
  const bindings = { ...real, CLICKHOUSE } as unknown as ConsumerBindings;
  const env = {
    ...bindings,
    CONSUMER: new Operations(createExecutionContext(), bindings),
    ADMIN_TOKEN: adminToken,
  } as unknown as ConsoleBindings;
  const said = async (path: string) => {
    const asking = new Request(`https://console.example/api/${path}`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    return await (await consoleWorker.fetch(asking as Parameters<typeof consoleWorker.fetch>[0], env)).json();
  };
  expect(await said("dead-letters")).toMatchObject([{ key, tenant: "globex", from: "record" }]);
  expect(await said(`payload?id=${key}`)).toMatchObject({ deadLetters: [{ key, reason: "rejected:469" }] });
});

test("replaying takes payloads of a segment by their keys, and misses those that it does not have", async () => {
  const { keys } = await putThree();
  const [key = ""] = keys;
  const wrong = key.replace("/acme/", "/globex/");
  const { said } = await ask("replay", { keys: [...keys, wrong] });
  expect(said).toEqual({ taken: keys, missing: [wrong] });
  expect((await ask("forget", { keys })).status).toBe(200);
});
