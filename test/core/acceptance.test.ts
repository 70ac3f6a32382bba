/** From the accepted body to its answer (shared/delivery/acceptance.ts), effect by effect. */
import { describe, expect, test } from "vitest";
import { type Acceptance, acceptPayload } from "../../shared/delivery/acceptance.ts";
import { perform } from "../../shared/effect.ts";
import type { BareDoorbell, Counts, Doorbell } from "../../shared/messages.ts";
import { doorbell } from "../ledger/world.ts";

const { v: _, key, cause: __, ...counts } = doorbell({ n: 1 });
/** What the object that came first says: its request kept fewer spans. */
const first: Counts = { ...counts, spans: 4, outputBytes: 400 };

interface World {
  /** Is the object created? An error: the put fails. */
  readonly put: boolean | Error;
  readonly object?: Counts | "damaged" | null | Error;
  readonly isNotified?: boolean;
}

async function accept({ put, object = null, isNotified = false }: World): Promise<{
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
    acceptPayload(key, counts, () => isNotified),
    {
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
      answer: { kind: "created" },
      notified: [{ ...bare, ...counts }],
    });
    // Also where this isolate has sent the key's doorbell: that one was for another object.
    expect((await accept({ put: true, isNotified: true })).notified).toHaveLength(1);
  });

  test("of which equal bytes came before is notified with what that object says, and never with its own counts", async () => {
    expect(await accept({ put: false, object: first })).toEqual({
      answer: { kind: "duplicate", spans: 4 },
      notified: [{ ...bare, ...first }],
    });
  });

  test("that is there and says nothing of itself is notified by its key alone", async () => {
    for (const object of ["damaged", away] as const) {
      expect(await accept({ put: false, object })).toEqual({
        answer: { kind: "duplicate", spans: null },
        notified: [bare],
      });
    }
  });

  test("that was notified a moment ago is not notified again", async () => {
    expect(await accept({ put: false, object: first, isNotified: true })).toEqual({
      answer: { kind: "duplicate", spans: 4 },
      notified: [],
    });
  });

  test("whose put failed is ours if its object is there, and else the client tries again", async () => {
    expect(await accept({ put: away, object: first })).toEqual({
      answer: { kind: "duplicate", spans: 4 },
      notified: [{ ...bare, ...first }],
    });
    expect((await accept({ put: away, object: "damaged" })).answer).toEqual({
      kind: "duplicate",
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
