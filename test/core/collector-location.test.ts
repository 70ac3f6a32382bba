/** Where a collector is placed: workerd has one place, so what its stub is asked for with is looked at. */
import { expect, test } from "vitest";
import { KnownCollectors } from "../../shared/collect/known-collectors.ts";
import { collectorLocations, parseCollectorLocation } from "../../shared/collect/settings.ts";
import { everyTrace } from "../../shared/otlp/sample-threshold.ts";
import { idOfHash } from "../../shared/payload-key.ts";
import type { IngressBindings } from "../../workers/ingress/bindings.ts";
import { Deadline } from "../../workers/ingress/deadline.ts";
import { acceptancePerformer, NotifiedKeys } from "../../workers/ingress/perform-acceptance.ts";

const id = idOfHash(new Uint8Array(16), { contentMinute: 0, from: 1 });
const metadata = {
  version: "1",
  type: "pb",
  encoding: "identity",
  spans: 1,
  rejectedSpans: 0,
  inflatedBytes: 1,
  outputBytes: 1,
  arrival: 0,
  startMinMs: 0,
  startMaxMs: 0,
  sampleThreshold: everyTrace,
} as const;

/** What the namespace was asked for, for one payload that is collected. */
async function askedFor(location: string | undefined): Promise<readonly unknown[][]> {
  const asked: unknown[][] = [];
  const bindings = {
    COLLECTOR: {
      idFromName: (name: string) => `id of ${name}`,
      get: (...given: unknown[]) => {
        asked.push(given);
        return { add: async () => ({ kind: "alone" }) };
      },
    },
    ...(location === undefined ? {} : { COLLECTOR_LOCATION: location }),
  };
  const performer = acceptancePerformer(
    bindings as unknown as IngressBindings,
    { tenant: "acme", id, body: new Uint8Array(1), metadata },
    { collector: 3, known: new KnownCollectors(), bypassed: () => undefined },
    new NotifiedKeys(),
    new Deadline(),
    () => undefined,
  );
  await performer.collect({} as never);
  return asked;
}

test("a collector is asked for at the place of COLLECTOR_LOCATION, and without it at none", async () => {
  expect(await askedFor("weur")).toEqual([["id of 3", { locationHint: "weur" }]]);
  expect(await askedFor("")).toEqual([["id of 3"]]);
  expect(await askedFor(undefined)).toEqual([["id of 3"]]);
});

test("what is no place is not passed on: the payload is put alone", async () => {
  // Durable Objects, "Data location": Supported locations.
  const hints = "wnam enam sam weur eeur apac apac-ne apac-se oc afr me".split(" ");
  expect(hints.map(parseCollectorLocation)).toEqual(hints);
  expect(collectorLocations).toHaveLength(hints.length);
  expect(["", "mars", "WEUR"].map(parseCollectorLocation)).toEqual([null, undefined, undefined]);
  await expect(askedFor("mars")).rejects.toThrow("the collector (Durable Object binding COLLECTOR)");
});
