/** From the accepted body to its answer (shared/delivery/acceptance.ts), effect by effect. */
import { describe, expect, test } from "vitest";
import { type Acceptance, acceptPayload, type Collected } from "../../shared/delivery/acceptance.ts";
import { perform } from "../../shared/effect.ts";
import type { BareDoorbell, Counts, Doorbell } from "../../shared/messages.ts";
import { formatSlotKey, idOfKey } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { doorbell } from "../ledger/world.ts";

const { v: _, key, cause: __, ...counts } = doorbell({ n: 1 });
/** What the object that came first says: its request kept fewer spans. */
const first: Counts = { ...counts, spans: 4, outputBytes: 400 };

interface World {
  /** What the collector says; an error: it does not answer. Absent: there is none. */
  readonly collected?: Collected | Error;
  /** Is the object created? An error: the put fails. */
  readonly put: boolean | Error;
  readonly object?: Counts | "damaged" | null | Error;
  readonly isNotified?: boolean;
}

async function accept({ put, object = null, isNotified = false, collected }: World): Promise<{
  readonly answer: Acceptance;
  readonly notified: readonly (Doorbell | BareDoorbell)[];
}> {
  const notified: (Doorbell | BareDoorbell)[] = [];
  const orThrow = <T>(value: T | Error): T => {
    if (value instanceof Error) {
      throw value;
    }
    return value;
  };
  const answer = await perform(
    acceptPayload(key, counts, () => isNotified, collected !== undefined),
    {
      collect: async () => orThrow(collected ?? new Error("nobody asks a collector where there is none")),
      putIfAbsent: async () => orThrow(put),
      readCounts: async () => orThrow(object),
      notify: async (bell) => {
        notified.push(bell);
        return null;
      },
    },
  );
  return { answer, notified };
}

const away = new Error("R2 is away");
const bare = { v: 1, key, cause: "ingress" };

describe("a body", () => {
  test("that is new is notified with what its request counted", async () => {
    expect(await accept({ put: true })).toEqual({
      answer: { kind: "created", key },
      notified: [{ ...bare, ...counts }],
    });
    // Also where this isolate has sent the key's doorbell: that one was for another object.
    expect((await accept({ put: true, isNotified: true })).notified).toHaveLength(1);
  });

  test("of which equal bytes came before is notified with what that object says, and never with its own counts", async () => {
    expect(await accept({ put: false, object: first })).toEqual({
      answer: { kind: "duplicate", key, spans: 4 },
      notified: [{ ...bare, ...first }],
    });
  });

  test("that is there and says nothing of itself is notified by its key alone", async () => {
    for (const object of ["damaged", away] as const) {
      expect(await accept({ put: false, object })).toEqual({
        answer: { kind: "duplicate", key, spans: null },
        notified: [bare],
      });
    }
  });

  test("that was notified a moment ago is not notified again", async () => {
    expect(await accept({ put: false, object: first, isNotified: true })).toEqual({
      answer: { kind: "duplicate", key, spans: 4 },
      notified: [],
    });
  });

  test("whose put failed is ours if its object is there, and else the client tries again", async () => {
    expect(await accept({ put: away, object: first })).toEqual({
      answer: { kind: "duplicate", key, spans: 4 },
      notified: [{ ...bare, ...first }],
    });
    expect((await accept({ put: away, object: "damaged" })).answer).toEqual({
      kind: "duplicate",
      key,
      spans: null,
    });
    for (const object of [null, away]) {
      expect(await accept({ put: away, object })).toEqual({ answer: { kind: "unreachable" }, notified: [] });
    }
    // It was there, and is gone by now.
    expect(await accept({ put: false, object: null })).toEqual({
      answer: { kind: "unreachable" },
      notified: [],
    });
  });
});

describe("a body that is given to a collector", () => {
  const place = formatSlotKey(
    formatSegmentKey(counts.arrival, new Uint8Array(10), [idOfKey(key)]),
    0,
    "acme",
    idOfKey(key),
  );
  const stored = { kind: "stored", key: place, spans: 4 } as const;

  test("is ours where the collector says so, which notifies by itself", async () => {
    const away = new Error("nobody puts it a second time");
    expect(await accept({ put: away, collected: { ...stored, isDuplicate: false } })).toEqual({
      answer: { kind: "created", key: place },
      notified: [],
    });
    expect(await accept({ put: away, collected: { ...stored, isDuplicate: true } })).toEqual({
      answer: { kind: "duplicate", key: place, spans: 4 },
      notified: [],
    });
  });

  test("is put alone whatever else the collector says, and where it says nothing", async () => {
    for (const collected of [{ kind: "alone" } as const, new Error("it hangs")]) {
      expect(await accept({ put: true, collected })).toEqual({
        answer: { kind: "created", key },
        notified: [{ ...bare, ...counts }],
      });
      expect((await accept({ put: away, collected })).answer).toEqual({ kind: "unreachable" });
    }
  });
});
