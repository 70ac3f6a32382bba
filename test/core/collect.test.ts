/** What a collector decides (shared/collect/): a payload's place, when a segment is closed, and what is known to be stored. */
import { describe, expect, test } from "vitest";
import { type Gathered, Gathering, isCollected, type Sized } from "../../shared/collect/gathering.ts";
import { CollectorPause } from "../../shared/collect/pause.ts";
import { parseCollectMs } from "../../shared/collect/settings.ts";
import { storeSegment } from "../../shared/collect/store-segment.ts";
import { perform } from "../../shared/effect.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadId, type ObjectKey, type PayloadId } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";

const start = Date.UTC(2026, 10, 24, 7, 41);

function idOf(n: number): PayloadId {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(8, n);
  return formatPayloadId(bytes);
}

const payload = (n: number, changes: Partial<Sized> = {}): Sized => ({
  id: idOf(n),
  bytes: 8192,
  outputBytes: 60_000,
  spans: 100,
  ...changes,
});

const keyOf = ({ openedAt, payloads }: Gathered<Sized>): ObjectKey =>
  formatSegmentKey(
    openedAt,
    new Uint8Array(10),
    payloads.map(({ id }) => id),
  );

/** A collector in which a put of 80 ms is in flight and others have come meanwhile: it waits. */
function crowded(): { gathering: Gathering<Sized>; flying: Gathered<Sized>; now: number } {
  const gathering = new Gathering<Sized>(100, start);
  gathering.add(payload(1000), start);
  const [flying] = gathering.closed(start);
  if (flying === undefined) {
    throw new Error("what comes alone is put at once");
  }
  gathering.add(payload(1001), start + 10);
  return { gathering, flying, now: start + 10 };
}

describe("a payload", () => {
  test("that comes alone is put at once, whatever came before", () => {
    const gathering = new Gathering<Sized>(100, start);
    for (let i = 0; i < 100; i++) {
      const now = start + 80 * i; // a sender that waits for its answer
      expect(gathering.add(payload(i), now)).toMatchObject({ kind: "in_hand", slot: 0 });
      const [segment, ...others] = gathering.closed(now);
      expect(others).toEqual([]);
      expect(segment?.payloads).toEqual([payload(i)]);
      gathering.stored(segment as Gathered<Sized>, keyOf(segment as Gathered<Sized>), now + 79);
      expect(gathering.isIdle).toBe(true);
      expect(gathering.lookAt(now + 79)).toBeNull();
    }
  });

  test("that comes while a put is in flight waits for others, for its time and no longer", () => {
    const { gathering, now } = crowded();
    expect(gathering.closed(now)).toEqual([]);
    expect(gathering.lookAt(now)).toBe(now + 100);
    gathering.add(payload(1), now + 50);
    expect(gathering.closed(now + 99)).toEqual([]);
    expect(gathering.closed(now + 100)).toMatchObject([
      { openedAt: now, payloads: [payload(1001), payload(1)] },
    ]);
  });

  test("waits for two and a half times of what a put takes at most", () => {
    const { gathering, flying, now } = crowded();
    gathering.stored(flying, keyOf(flying), start + 20);
    gathering.add(payload(1), start + 20);
    const [next] = gathering.closed(start + 60); // 20 ms of a put: 50 ms
    expect(next?.openedAt).toBe(now);
  });

  test("does not wait for a crowd that has gone", () => {
    const { gathering, flying } = crowded();
    for (let i = 0; i < 8; i++) {
      gathering.add(payload(i), start + 11 + i);
    }
    gathering.stored(flying, keyOf(flying), start + 80);
    expect(gathering.closed(start + 80)).toHaveLength(1);
  });

  test("that is in hand has one place, and one that is stored has it for two minutes", () => {
    const { gathering, flying, now } = crowded();
    expect(gathering.find(idOf(1001), now)).toMatchObject({ kind: "in_hand", slot: 0 });
    expect(gathering.find(idOf(1000), now)).toMatchObject({ kind: "in_hand", segment: flying });
    expect(gathering.find(idOf(1), now)).toBeUndefined();
    const at = start + 80;
    gathering.stored(flying, keyOf(flying), at);
    const stored = { kind: "stored", segment: keyOf(flying), slot: 0, spans: 100 };
    expect(gathering.find(idOf(1000), at)).toMatchObject(stored);
    expect(gathering.find(idOf(1000), at + limits.collectKnownMs)).toMatchObject(stored);
    expect(gathering.find(idOf(1000), at + limits.collectKnownMs + 1)).toBeUndefined();
  });

  test("whose segment failed is known to nobody, and may be sent again", () => {
    const { gathering, flying, now } = crowded();
    gathering.failed(flying, now);
    expect(gathering.find(idOf(1000), now)).toBeUndefined();
    expect(gathering.add(payload(1000), now)).toMatchObject({ kind: "in_hand" });
  });

  test("is remembered as one of 20,000", () => {
    const gathering = new Gathering<Sized>(0, start);
    for (let i = 0; i <= limits.collectKnownMax; i++) {
      gathering.add(payload(i, { bytes: 1 }), start);
      for (const segment of gathering.closed(start)) {
        gathering.stored(segment, keyOf(segment), start);
      }
    }
    expect(gathering.find(idOf(0), start)).toBeUndefined();
    expect(gathering.find(idOf(1), start)).toMatchObject({ kind: "stored" });
  });

  test.each([
    ["body", { bytes: limits.collectBodyBytesMax }],
    ["output bound", { outputBytes: limits.segmentOutputBytesMax }],
    ["rows", { spans: limits.segmentRowsMax }],
  ])("whose %s is above a segment's is not collected", (_, most) => {
    expect(isCollected(payload(1, most))).toBe(true);
    const above = Object.fromEntries(Object.entries(most).map(([name, value]) => [name, value + 1]));
    expect(isCollected(payload(1, above))).toBe(false);
    expect(new Gathering<Sized>(100, start).add(payload(1, above), start)).toBe("full");
  });
});

describe("a segment is closed before it would have", () => {
  test.each([
    ["more than 128 payloads", {}, 128],
    ["more than 2 MiB", { bytes: 256 * 1024 }, 8],
    ["a larger output bound than 16 MiB", { outputBytes: 5 * 1024 * 1024 }, 3],
    ["more than 50,000 rows", { spans: 20_000 }, 2],
  ])("%s", (_, size, most) => {
    const { gathering, now } = crowded();
    gathering.closed(now + 100);
    for (let i = 0; i <= most; i++) {
      gathering.add(payload(i, size), now + 101);
    }
    const [closed] = gathering.closed(now + 101);
    expect(closed?.payloads).toHaveLength(most);
    expect(gathering.find(idOf(most), now + 101)).toMatchObject({ kind: "in_hand", slot: 0 });
  });
});

test("five puts are in flight at most: then a segment fills up, and then there is no place", () => {
  const gathering = new Gathering<Sized>(0, start);
  for (let i = 0; i < 5; i++) {
    gathering.add(payload(i), start);
    expect(gathering.closed(start)).toHaveLength(1);
  }
  for (let i = 100; i < 228; i++) {
    expect(gathering.add(payload(i), start)).toMatchObject({ kind: "in_hand", slot: i - 100 });
  }
  expect(gathering.closed(start + 10_000)).toEqual([]);
  expect(gathering.lookAt(start)).toBeNull();
  expect(gathering.add(payload(500), start)).toBe("full");
  const known = gathering.find(idOf(3), start);
  gathering.failed((known as { segment: Gathered<Sized> }).segment, start);
  const [closed] = gathering.closed(start);
  expect(closed?.payloads).toHaveLength(128);
});

describe("a segment's put", () => {
  const key = keyOf({ openedAt: start, payloads: [payload(1)] });
  type Put = boolean | Error;

  async function store(puts: readonly Put[], found: readonly (number | null | Error)[]) {
    const asked: string[] = [];
    const next = <T>(answers: T[], name: string): T => {
      asked.push(name);
      const answer = answers.shift();
      if (answer === undefined || answer instanceof Error) {
        throw answer ?? new Error(`nobody expects a further ${name}`);
      }
      return answer;
    };
    const left = { puts: [...puts], found: [...found] };
    const isStored = await perform(storeSegment(key, 100), {
      putIfAbsent: async () => next(left.puts, "put") as boolean,
      sizeOf: async () => next(left.found, "head") as number | null,
    });
    return { isStored, asked: asked.join(" ") };
  }

  const lost = new Error("the answer was lost");

  test.each([
    ["is created", [true], [], true, "put"],
    ["threw and landed", [lost], [100], true, "put head"],
    ["threw, and is put again", [lost, true], [null], true, "put head put"],
    [
      "threw, could not be looked for, and is there at the second put",
      [lost, false],
      [lost, 100],
      true,
      "put head put head",
    ],
    ["threw twice and landed late", [lost, lost], [null, 100], true, "put head put head"],
    ["never landed", [lost, lost], [null, null], false, "put head put head"],
    ["cannot be looked for", [lost, lost], [lost, lost], false, "put head put head"],
    ["is there with another size", [false, false], [99, 99], false, "put head put head"],
  ] as const)("that %s", async (_, puts, found, isStored, asked) => {
    expect(await store(puts, found)).toEqual({ isStored, asked });
  });
});

describe("a collector that failed is left alone", () => {
  test("for a second, doubling to half a minute, and no longer once it works", () => {
    const pause = new CollectorPause();
    const lengths: number[] = [];
    let now = start;
    expect(pause.take(now)).toBe(true);
    for (let i = 0; i < 7; i++) {
      pause.failed(now, now + 10, "collector_failed");
      for (let ms = 0; ; ms += 1000) {
        if (pause.take(now + 10 + ms)) {
          lengths.push(ms);
          now += 10 + ms;
          break;
        }
      }
    }
    expect(lengths).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    pause.worked(now);
    pause.failed(now, now + 10, "collector_failed");
    expect(pause.take(now + 10 + 1000)).toBe(true);
  });

  test("once for calls that waited together", () => {
    const pause = new CollectorPause();
    for (let i = 0; i < 32; i++) {
      pause.failed(start + i, start + 4000 + i, "collector_failed");
    }
    expect(pause.take(start + 4999)).toBe(false);
    expect(pause.take(start + 5000)).toBe(true);
  });

  test("by all but one payload at a time, until one was answered", () => {
    const pause = new CollectorPause();
    const takes = (now: number): boolean[] => [pause.take(now), pause.take(now), pause.take(now)];
    expect(takes(start), "before any failure").toEqual([true, true, true]);
    pause.failed(start, start, "collector_failed");
    expect(takes(start + 1000), "it may hang").toEqual([true, false, false]);
    expect(takes(start + 1000 + limits.collectPatienceMs), "nothing came of it").toEqual([
      true,
      false,
      false,
    ]);
    pause.failed(start + 5000, start + 5001, "collector_failed");
    expect(takes(start + 7000), "two seconds are not over").toEqual([false, false, false]);
    expect(takes(start + 7001)).toEqual([true, false, false]);
    pause.worked(start + 7001);
    expect(takes(start + 7002), "it works again").toEqual([true, true, true]);
    pause.failed(start + 8000, start + 8000, "collector_version");
    expect(takes(start + 9000)).toEqual([true, false, false]);
    pause.full(start + 9000, start + 9001);
    expect(takes(start + 10_001), "it works, and was full").toEqual([true, true, true]);
  });

  test("until a call that began after the failure was answered: an older one says nothing of it", () => {
    const pause = new CollectorPause();
    pause.failed(start + 10, start + 100, "collector_failed");
    expect(pause.take(start + 1100)).toBe(true);
    pause.failed(start + 1100, start + 1200, "collector_failed");
    pause.worked(start + 50);
    expect(pause.take(start + 2300), "two seconds, not one").toBe(false);
    expect(pause.take(start + 3200)).toBe(true);
    pause.worked(start + 1150);
    expect(pause.take(start + 3201), "one payload at a time still").toBe(false);
    pause.worked(start + 3200);
    expect([pause.take(start + 3202), pause.take(start + 3202)]).toEqual([true, true]);
  });

  test("although an older call was answered that it is full", () => {
    const pause = new CollectorPause();
    pause.failed(start + 10, start + 100, "collector_failed");
    pause.full(start + 50, start + 150);
    expect(pause.why).toBe("collector_failed");
    expect(pause.take(start + 1150)).toBe(true);
    expect(pause.take(start + 1150), "nothing is known of it").toBe(false);
  });

  test("for a second where it was full, however often", () => {
    const pause = new CollectorPause();
    for (let i = 0; i < 5; i++) {
      pause.full(start, start);
    }
    expect(pause.take(start + 999)).toBe(false);
    expect(pause.take(start + 1000)).toBe(true);
  });
});

test("COLLECT_MS is a number of ms up to a second", () => {
  expect(["", "0", "100", "1000"].map(parseCollectMs)).toEqual([100, 0, 100, 1000]);
  expect(["1001", "-1", "1e2", "soon", "1.5"].map(parseCollectMs)).toEqual(
    Array.from({ length: 5 }, () => undefined),
  );
});
