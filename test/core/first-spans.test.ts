/** When the terminal of `npm run dev` says that a service's spans have arrived. (That ClickHouse answers so: test/engine.) */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type FirstSpans, type Question, watchFirstSpans } from "../../dev/first-spans.ts";
import { firstSpansText } from "../../dev/readable-log.ts";

/** A group by its number. */
const groupOf = (n: number): string => String(n).padStart(32, "0");
const spansOf = (service: string): FirstSpans => ({
  service,
  spans: 12,
  span: "POST /orders",
  ms: 41.2,
  trace: "5b8efff798038103d269b633813fc60c",
});

let asked: Question[] = [];
let printed: string[] = [];
let stored = new Map<string, string[]>();
let isAway = false;
let takesMs = 0;
let watch: ReturnType<typeof watchFirstSpans>;

beforeEach(() => {
  vi.useFakeTimers();
  [asked, printed, stored, isAway, takesMs] = [[], [], new Map(), false, 0];
  watch = watchFirstSpans(
    async (question) => {
      asked.push(question);
      if (isAway) {
        throw new Error("ClickHouse is away");
      }
      if (takesMs > 0) {
        await new Promise((resolve) => setTimeout(resolve, takesMs));
      }
      const seen = question.groups.filter((group) => stored.has(group));
      const services = [...new Set(seen.flatMap((group) => stored.get(group) ?? []))];
      const fresh = services.filter((service) => !question.named.includes(service));
      return { seen, services: fresh.map(spansOf) };
    },
    ({ service }) => printed.push(service),
  );
});

afterEach(() => {
  watch.stop();
  vi.useRealTimers();
});

function attempt(n: number, outcome = "stored"): void {
  watch.readLine(JSON.stringify({ outcome, group: groupOf(n), attempt: 1, payloads: 1, spans: 12 }));
}

test("a service is named with its first spans, once, and a burst of groups is one question", async () => {
  stored.set(groupOf(1), ["checkout", "cart"]);
  stored.set(groupOf(2), ["checkout"]);
  attempt(1);
  attempt(2);
  await vi.advanceTimersByTimeAsync(1000);
  expect(printed).toEqual(["checkout", "cart"]);
  expect(asked).toHaveLength(1);
  stored.set(groupOf(3), ["checkout", "payment"]);
  attempt(3);
  await vi.advanceTimersByTimeAsync(1000);
  expect(printed).toEqual(["checkout", "cart", "payment"]);
});

test("a group whose receipts are not written yet is asked about again, and not for ever", async () => {
  attempt(1);
  await vi.advanceTimersByTimeAsync(1000);
  stored.set(groupOf(1), ["checkout"]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(printed).toEqual(["checkout"]);
  attempt(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked.length).toBeLessThan(15);
});

test("while ClickHouse is away nothing breaks, and the service is named when it is back", async () => {
  isAway = true;
  stored.set(groupOf(1), ["checkout"]);
  attempt(1);
  await vi.advanceTimersByTimeAsync(2000);
  isAway = false;
  await vi.advanceTimersByTimeAsync(2000);
  expect(printed).toEqual(["checkout"]);
});

test("traffic that goes on is asked about every 10 s, and what comes alone at once", async () => {
  for (let n = 1; n <= 60; n++) {
    stored.set(groupOf(n), [n < 30 ? "checkout" : "payment"]);
    attempt(n);
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(printed).toEqual(["checkout", "payment"]);
  expect(asked.length).toBeLessThan(14); // it was 60
  expect(new Set(asked.flatMap(({ groups }) => groups)).size).toBeGreaterThan(48);
  await vi.advanceTimersByTimeAsync(20_000);
  stored.set(groupOf(61), ["cart"]);
  attempt(61);
  await vi.advanceTimersByTimeAsync(1000);
  expect(printed).toEqual(["checkout", "payment", "cart"]);
});

test("a question that takes half a second is asked again after 25 s", async () => {
  takesMs = 500;
  for (let n = 1; n <= 60; n++) {
    stored.set(groupOf(n), ["checkout"]);
    attempt(n);
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(printed).toEqual(["checkout"]);
  expect(asked).toHaveLength(3);
});

test("an attempt that stored nothing, and what is no group, is asked about by nobody", async () => {
  attempt(1, "retry");
  watch.readLine('{"outcome":"stored","group":"\'); DROP TABLE otel_traces; --"}');
  watch.readLine("no JSON");
  await vi.advanceTimersByTimeAsync(5000);
  expect(asked).toEqual([]);
});

test("the line has the service, the count, the trace and the link, and obeys nothing of a hostile name", () => {
  const link = "http://127.0.0.1:4319/#/traces/5b8efff798038103d269b633813fc60c";
  expect(firstSpansText(spansOf("checkout"), link)).toBe(
    `checkout: first 12 spans stored, "POST /orders" 41.2 ms, trace 5b8efff798038103d269b633813fc60c: ${link}`,
  );
  expect(firstSpansText({ ...spansOf("\u001b[31mevil\u202e\n"), spans: 1 }, link)).toBe(
    `�[31mevil��: first span stored, "POST /orders" 41.2 ms, trace 5b8efff798038103d269b633813fc60c: ${link}`,
  );
});
