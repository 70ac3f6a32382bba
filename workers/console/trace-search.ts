/**
 * A search among the spans within a budget of time: it walks from the newest to the oldest in slices, each a query of its own,
 * and stops when the time is used up. So whatever was found by then is known to be all of it back to some time.
 */
import * as v from "valibot";
import { queryRows, StatementFailed } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { NotReached } from "../../shared/clickhouse/connection.ts";
import { readSearchSettings, type SearchSettings } from "../../shared/clickhouse/search-limits.ts";
import { shortInstant } from "../../shared/console/instant.ts";
import {
  hasProjectionQuery,
  projectionName,
  type Question,
  type Slice,
} from "../../shared/console/trace-queries.ts";
import { limits } from "../../shared/limits.ts";

/** What a search has to know of its login and of the table. */
export interface SearchFacts {
  readonly login: SearchSettings;
  readonly hasProjection: boolean;
}

/** Remembers the facts for a minute, one per Worker instance. */
export interface SearchMemory {
  facts: SearchFacts | null;
  /** ms since the epoch */
  readAt: number;
}

export function nothingRemembered(): SearchMemory {
  return { facts: null, readAt: 0 };
}

const hasSchema = v.array(v.object({ has: v.number() }));

/** Throws when ClickHouse cannot be asked. */
export async function factsOf(
  clickHouse: ClickHouseConnection,
  memory: SearchMemory,
  now: number,
): Promise<SearchFacts> {
  if (memory.facts === null || now - memory.readAt > limits.searchMemoryMs) {
    const [login, table] = await Promise.all([
      readSearchSettings(clickHouse),
      queryRows(clickHouse, hasSchema, hasProjectionQuery(clickHouse.settings)),
    ]);
    memory.facts = { login, hasProjection: (table[0]?.has ?? 0) > 0 };
    memory.readAt = now;
  }
  return memory.facts;
}

/** One search: its connection, its budget, and what it has to say. */
export interface Search {
  readonly clickHouse: ClickHouseConnection;
  readonly hasProjection: boolean;
  /** ms that are left. */
  left(): number;
  /** Whether a question of it was answered: then ClickHouse is there. */
  isAnswered(): boolean;
  /** The rows of a question; gives up when the budget is used up. `beyondMs`: so much later, for what belongs to an answer. */
  ask<S extends v.GenericSchema>(question: Question, schema: S, beyondMs?: number): Promise<v.InferOutput<S>>;
}

/** The same connection, all of whose questions together are waited for until `deadline`, `totalMs` after they began. */
export function patientUntil(
  clickHouse: ClickHouseConnection,
  deadline: number,
  totalMs: number,
  clock: () => number,
): ClickHouseConnection {
  return {
    ...clickHouse,
    send: async (request) => {
      const patienceMs = Math.max(1, Math.min(request.patienceMs, deadline - clock()));
      try {
        return await clickHouse.send({ ...request, patienceMs });
      } catch (error) {
        throw clock() < deadline
          ? error
          : new Error(`no answer within ${totalMs / 1000} s`, { cause: error });
      }
    },
  };
}

/** A string is why nothing is searched. `clock`: ms since the epoch. */
export async function startSearch(
  clickHouse: ClickHouseConnection,
  memory: SearchMemory,
  clock: () => number,
): Promise<Search | string> {
  const deadline = clock() + limits.traceSearchMs;
  const patient = patientUntil(clickHouse, deadline, limits.traceSearchMs, clock);
  const { login, hasProjection } = await factsOf(patient, memory, clock());
  if (login.kind === "unlimited") {
    memory.facts = null; // the next request finds it fixed
    return `The console's login ${clickHouse.settings.user} has no limit (${login.missing.join(", ")}), so that a search could take all of ClickHouse from the INSERTs. As an administrator of ClickHouse: ${login.mend}`;
  }
  const left = (): number => deadline - clock();
  let isAnswered = false;
  return {
    clickHouse,
    hasProjection,
    left,
    isAnswered: () => isAnswered,
    ask: async ({ query, parameters }, schema, beyondMs = 0) => {
      const rows = await queryRows(clickHouse, schema, query, parameters, {
        settings: login.settings,
        patienceMs: Math.max(1, left() + beyondMs),
      });
      isAnswered = true;
      return rows;
    },
  };
}

/** ClickHouse refuses by a limit of the login: rows, time, memory, the answer's bytes. A smaller question may be let through. */
const limitCodes: readonly (number | null)[] = [158, 159, 160, 241, 307, 396];

export function isTooMuch(error: unknown): boolean {
  return error instanceof StatementFailed && limitCodes.includes(error.code);
}

/** The answer had not come when the time was used up. */
export function isOutOfTime(error: unknown, search: Search): boolean {
  return error instanceof NotReached && search.left() <= 0;
}

export interface Walked {
  /** All from here on was searched. */
  readonly from: bigint;
  readonly isWhole: boolean;
  readonly endedBy: "end" | "enough" | "time";
}

const minuteNs = 60_000_000_000n;

/**
 * Hands slices of `range` to `act`, from the newest to the oldest, until one says that it is enough. `stepNs`: slices begin at
 * multiples of it. `firstNs`: the length of the first; the next are longer while they are quick.
 */
export async function walk(
  search: Search,
  range: Slice,
  { firstNs, stepNs = minuteNs }: { readonly firstNs: bigint; readonly stepNs?: bigint },
  act: (slice: Slice) => Promise<boolean>,
): Promise<Walked> {
  let { to } = range;
  let length = firstNs;
  for (let asked = 0; to > range.from; asked++) {
    if (search.left() <= 0 || asked >= limits.traceSlicesMax) {
      return { from: to, isWhole: false, endedBy: "time" };
    }
    const from = sliceStart(range.from, to, length, stepNs);
    const leftBefore = search.left();
    try {
      const isEnough = await act({ from, to });
      to = from;
      if (isEnough) {
        return { from: to, isWhole: to <= range.from, endedBy: "enough" };
      }
    } catch (error) {
      if (isTooMuch(error) && to - from > stepNs) {
        length = (to - from) / 4n;
        continue;
      }
      // Where no question has had an answer, nobody knows whether ClickHouse is there.
      const isThere = search.isAnswered() || isTooMuch(error);
      if (isThere && (isTooMuch(error) || isOutOfTime(error, search))) {
        return { from: to, isWhole: false, endedBy: "time" };
      }
      throw error;
    }
    length = nextLength(length, leftBefore - search.left());
  }
  return { from: range.from, isWhole: true, endedBy: "end" };
}

function sliceStart(first: bigint, to: bigint, length: bigint, step: bigint): bigint {
  const wanted = to - length;
  const aligned = wanted - (wanted % step);
  return aligned <= first ? first : aligned;
}

/** A slice is to take about half a second: then the budget ends between two of them. */
function nextLength(length: bigint, tookMs: number): bigint {
  if (tookMs < 250) {
    return length * 4n;
  }
  return tookMs < 600 ? length * 2n : tookMs > 1500 ? length / 2n + 1n : length;
}

/** The sentence of a search that did not come to its end. */
export function timeUsedUp({ from }: Walked, { hasProjection }: Search): string {
  const faster = hasProjection
    ? ""
    : ` The projection ${projectionName} would list traces faster (docs/console.md has its price).`;
  return `Searched back to ${shortInstant(from)} within ${limits.traceSearchMs / 1000} s: older spans were not searched. Continue from there, or narrow the filter.${faster}`;
}
