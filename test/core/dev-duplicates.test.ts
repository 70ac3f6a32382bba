/** What `npm run dev` says of duplicates whose rows were deleted. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchDuplicates } from "../../dev/duplicates.ts";
import { formatPayloadId, formatPayloadKey, type PayloadId } from "../../shared/payload-key.ts";

let printed: string[] = [];
let presences = new Map<PayloadId, string[]>();
let asked: string[] = [];
let watch: ReturnType<typeof watchDuplicates>;

beforeEach(() => {
  vi.useFakeTimers();
  [printed, asked, presences] = [[], [], new Map()];
  watch = watchDuplicates(
    async (id) => {
      asked.push(id);
      const left = presences.get(id as PayloadId) ?? [];
      const presence = left.length > 1 ? left.shift() : left[0];
      if (presence === undefined) {
        throw new Error("the console is away");
      }
      return { presence };
    },
    (text) => printed.push(text),
  );
});

afterEach(() => {
  watch.stop();
  vi.useRealTimers();
});

/** The n-th payload, of which the console says so in turn. */
function payload(n: number, ...says: string[]): PayloadId {
  const id = formatPayloadId(new Uint8Array(16).fill(n));
  presences.set(id, says);
  return id;
}

function cameAgain(...ids: PayloadId[]): void {
  for (const id of ids) {
    const key = formatPayloadKey(Date.UTC(2026, 10, 27), "dev", id);
    watch.readLine(JSON.stringify({ outcome: "accepted", payload: key, duplicate: true }));
  }
}

test("a duplicate whose rows are gone is named with the command, and once a minute at most", async () => {
  const id = payload(1, "gone");
  cameAgain(id, id);
  await vi.advanceTimersByTimeAsync(2000);
  cameAgain(id);
  await vi.advanceTimersByTimeAsync(2000);
  expect(printed).toHaveLength(1);
  expect(printed[0]).toContain(`npx headrace forget ${id}\n`);
  await vi.advanceTimersByTimeAsync(60_000);
  cameAgain(id);
  await vi.advanceTimersByTimeAsync(2000);
  expect(printed).toHaveLength(2);
});

test("a burst is one message, which names a few", async () => {
  const ids = Array.from({ length: 200 }, (_, n) => payload(n, "gone"));
  cameAgain(...ids);
  await vi.advanceTimersByTimeAsync(5000);
  expect(printed).toHaveLength(1);
  expect(printed[0]).toContain("200 payloads");
  expect(printed[0]).toContain("(197 more)");
});

test("one whose rows are there is no news, and one in flight is looked at again", async () => {
  cameAgain(payload(1, "present"), payload(2, "in_flight", "in_flight", "days_gone"));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(printed).toHaveLength(1);
  expect(printed[0]).toContain(payload(2));
  expect(asked).toHaveLength(4);
});

test("the receipts' line names duplicates too, and nothing else does", async () => {
  const id = payload(1, "gone");
  const key = formatPayloadKey(Date.UTC(2026, 10, 27), "dev", id);
  for (const line of [
    'not JSON with "duplicate',
    JSON.stringify({ outcome: "stored", payloads: 2 }),
    JSON.stringify({ outcome: "duplicate", duplicates: ["p/0/t/none"] }),
  ]) {
    watch.readLine(line);
  }
  await vi.advanceTimersByTimeAsync(2000);
  expect(asked).toEqual([]);
  watch.readLine(JSON.stringify({ outcome: "duplicate", payloads: 1, duplicates: [key] }));
  await vi.advanceTimersByTimeAsync(2000);
  expect(printed).toHaveLength(1);
});

test("a console that does not answer is asked again, not for ever", async () => {
  cameAgain(payload(1));
  await vi.advanceTimersByTimeAsync(600_000);
  expect(asked).toHaveLength(10);
  expect(printed).toEqual([]);
});
