/**
 * The traces table: rows by (payload, day), and ClickHouse's deduplication as it was measured (docs/facts.md: deduplication). Its log
 * remembers the last N (token, day) entries of the whole table, from all writers; a day's part of an INSERT is
 * committed whole or dropped, one day after the other; a token that is logged drops whatever comes under it.
 */

import type { PayloadId } from "../../../shared/payload-key.ts";
import type { DayRows, GroupId } from "../../../shared/receipt.ts";

/** Rows of one payload on one day. */
export interface Rows {
  readonly id: PayloadId;
  readonly day: number;
  readonly rows: number;
}

/** An INSERT that the server works on. */
export interface RunningInsert {
  readonly queryId: string;
  readonly token: string;
  readonly days: readonly number[];
  readonly rows: readonly Rows[];
  readonly began: number;
  state: "running" | "ended";
}

interface Commit extends Rows {
  readonly at: number;
  readonly token: string;
}

export class TracesTable {
  readonly window: number;
  /** The first day inside the TTL; rows of older ones go, and are dropped when they are inserted. */
  oldestDay = 0;
  readonly #rows = new Map<PayloadId, Map<number, number>>();
  readonly #log = new Map<string, number>();
  /** Entries that were ever logged: an entry is remembered while fewer than `window` came after it. */
  #entries = 0;
  #lastBlocks = new Map<number, number>();
  #commits: Commit[] = [];
  /** Its materialized view (trace ids and their times): which `id/day` it has. */
  readonly view = new Set<string>();
  readonly running = new Map<string, RunningInsert>();
  /** Raised by whatever changes rows. */
  version = 0;

  constructor(window: number) {
    this.window = window;
  }

  begin(queryId: string, token: string, rows: readonly Rows[], began: number): RunningInsert {
    const days = [...new Set(rows.map(({ day }) => day))].sort((a, b) => a - b);
    const run: RunningInsert = { queryId, token, days, rows, began, state: "running" };
    this.running.set(queryId, run);
    return run;
  }

  /**
   * Commits one day's part, or drops it because its token is known. The view's part follows, deduplicated by itself: a
   * repeated token fills in what the view missed.
   */
  commit(run: RunningInsert, day: number, now: number, viewFails = false): void {
    const name = `${run.token}/${day}`;
    if (!viewFails) {
      this.fillView(
        run.rows.filter((one) => one.day === day).map(({ id }) => id),
        day,
      );
    }
    const logged = this.#log.get(name);
    if (logged !== undefined && this.#entries - logged < this.window) {
      return;
    }
    this.#log.set(name, ++this.#entries);
    this.#lastBlocks.set(day, this.#entries);
    for (const one of run.rows) {
      if (one.day === day && day >= this.oldestDay) {
        const { id, rows } = one;
        this.#add(id, day, rows);
        this.#commits.push({ id, day, rows, at: now, token: name });
      }
    }
  }

  fillView(ids: readonly PayloadId[], day: number): void {
    for (const id of ids) {
      this.view.add(`${id}/${day}`);
    }
  }

  end(run: RunningInsert): void {
    run.state = "ended";
    this.running.delete(run.queryId);
  }

  /** Others write into the table: their blocks push ours out of the log. */
  othersWrite(blocks: number, day: number): void {
    this.#entries += blocks;
    this.#lastBlocks.set(day, this.#entries);
  }

  get blocks(): number {
    let last = 0;
    for (const block of this.#lastBlocks.values()) {
      last = Math.max(last, block);
    }
    return last;
  }

  count(id: PayloadId, day: number): number {
    return this.#rows.get(id)?.get(day) ?? 0;
  }

  /** Ascending by day, zeros left out. */
  rowsByDay(id: PayloadId): readonly DayRows[] {
    const days = this.#rows.get(id);
    if (days === undefined) {
      return [];
    }
    return [...days]
      .filter(([, rows]) => rows > 0)
      .map(([day, rows]) => ({ day, rows }))
      .sort((a, b) => a.day - b.day);
  }

  /** What a replica shows that has nothing of what was committed after `time`. */
  rowsAsOf(id: PayloadId, time: number): readonly DayRows[] {
    const later = this.#commits.filter((commit) => commit.id === id && commit.at > time);
    return this.rowsByDay(id)
      .map(({ day, rows }) => ({
        day,
        rows: later.reduce((left, commit) => left - (commit.day === day ? commit.rows : 0), rows),
      }))
      .filter(({ rows }) => rows > 0);
  }

  /** After `since`, until `until`. */
  hasCommits(since: number, until: number): boolean {
    return this.#commits.some(({ at }) => at > since && at <= until);
  }

  /** A person drops it and creates it anew: its tokens are gone, and so are its rows unless they are copied over. */
  recreate(keepsRows: boolean): readonly Rows[] {
    for (const run of this.running.values()) {
      run.state = "ended";
    }
    this.running.clear();
    this.#log.clear();
    this.#lastBlocks.clear();
    this.#commits = [];
    const lost: Rows[] = [];
    for (const [id, days] of keepsRows ? [] : this.#rows) {
      for (const [day, rows] of days) {
        lost.push(...(rows > 0 ? [{ id, day, rows }] : []));
      }
    }
    if (!keepsRows) {
      this.#rows.clear();
      this.view.clear();
    }
    this.version++;
    return lost;
  }

  hasAnyRow(): boolean {
    for (const days of this.#rows.values()) {
      for (const rows of days.values()) {
        if (rows > 0) {
          return true;
        }
      }
    }
    return false;
  }

  /**
   * The server dies and starts again: what runs is gone, and of what was committed since `since` the rows are lost,
   * while the log may keep their tokens (measured) or lose them too. Returns what was lost.
   */
  restart(since: number, keepsTokens: boolean): readonly Rows[] {
    for (const run of this.running.values()) {
      run.state = "ended";
    }
    this.running.clear();
    const lost = this.#commits.filter(({ at }) => at > since);
    this.#commits = this.#commits.filter(({ at }) => at <= since);
    for (const { id, day, rows, token } of lost) {
      this.#add(id, day, -Math.min(rows, this.count(id, day)));
      if (!keepsTokens) {
        this.#log.delete(token);
      }
    }
    return lost;
  }

  /** KILL QUERY ... SYNC: whatever of the group still runs commits nothing more. */
  kill(group: GroupId, overdueBefore: number): void {
    for (const run of this.inTheWay(group, overdueBefore)) {
      this.end(run);
    }
  }

  /** system.processes: the group's queries by their ids, and whatever INSERT of ours began before `overdueBefore`. */
  inTheWay(group: GroupId, overdueBefore: number): readonly RunningInsert[] {
    return [...this.running.values()].filter(
      ({ queryId, began }) => queryId.startsWith(`${group}.`) || began < overdueBefore,
    );
  }

  /** Deletes a payload's rows of a day, all or some; the log keeps its tokens. Returns how many. */
  delete(id: PayloadId, day: number, atMost = Number.MAX_SAFE_INTEGER): number {
    const rows = Math.min(this.count(id, day), atMost);
    this.#add(id, day, -rows);
    this.#commits = this.#commits.filter((commit) => commit.id !== id || commit.day !== day);
    return rows;
  }

  /** Drops a day, and with it the tokens of its parts. Returns what was lost. */
  dropDay(day: number): readonly Rows[] {
    const lost: Rows[] = [];
    for (const [id, days] of this.#rows) {
      const rows = days.get(day) ?? 0;
      if (rows > 0) {
        lost.push({ id, day, rows });
        days.set(day, 0);
      }
    }
    for (const name of this.#log.keys()) {
      if (name.endsWith(`/${day}`)) {
        this.#log.delete(name);
      }
    }
    this.#lastBlocks.delete(day);
    this.#commits = this.#commits.filter((commit) => commit.day !== day);
    this.version++;
    return lost;
  }

  /** A merge drops what the TTL has passed. */
  expire(oldestDay: number): void {
    this.oldestDay = oldestDay;
    for (const days of this.#rows.values()) {
      for (const day of days.keys()) {
        if (day < oldestDay) {
          days.delete(day);
        }
      }
    }
    this.#commits = this.#commits.filter(({ day }) => day >= oldestDay);
    this.version++;
  }

  /** Takes a day's part out of the table, and returns what puts it back: an operator repairs it, or moves it. */
  detachDay(day: number): { readonly taken: readonly Rows[]; readonly attach: () => void } {
    const taken: Rows[] = [];
    for (const [id, days] of this.#rows) {
      const rows = days.get(day) ?? 0;
      if (rows > 0) {
        taken.push({ id, day, rows });
        days.set(day, 0);
      }
    }
    this.version++;
    return {
      taken,
      attach: () => {
        for (const { id, rows } of taken) {
          this.#add(id, day, rows);
        }
      },
    };
  }

  #add(id: PayloadId, day: number, rows: number): void {
    let days = this.#rows.get(id);
    if (days === undefined) {
      days = new Map();
      this.#rows.set(id, days);
    }
    days.set(day, (days.get(day) ?? 0) + rows);
    this.version++;
  }
}
