/**
 * Keys as KV lists them, a thousand with one operation, which costs what ten look-ups do. An isolate that looks up many keys in a
 * minute lists them all instead, behind a request's answer, and takes from the list what it does not remember.
 *
 * The list decides nothing that a look-up would not: it is as late as KV's reads are, and it is used for a minute from when
 * it was begun. A key that is not in it (made since, or written before keys had metadata) is looked up. Where the keys are so many
 * that listing them would cost more, the list is given up, and the next one waits for twice as many look-ups.
 */
import * as v from "valibot";
import { type ApiKeyRecord, apiKeyRecordSchema, keyNamePrefix } from "../../shared/api-key.ts";
import { dependencies } from "../../shared/dependency.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";

export class KeyList {
  /** What KV holds beside each name, not looked at yet. */
  #listed: ReadonlyMap<string, unknown> = new Map();
  /** ms since the epoch */
  #freshUntil = Number.NEGATIVE_INFINITY;
  /** Nobody else lists until then: a list that hangs, or whose invocation is cancelled, says nothing. ms since the epoch */
  #readingUntil = Number.NEGATIVE_INFINITY;
  /** What is counted began then. ms since the epoch */
  #since = Number.NEGATIVE_INFINITY;
  /** Look-ups of this minute and of the one before it, those that a list spared included. */
  #lookUps = 0;
  #lookUpsBefore = 0;
  /** What the next list takes, as far as is known, in operations. */
  #pages = 1;

  /**
   * The record of the key `id`, and until when it may be used (ms since the epoch), where a fresh list has it: a look-up was spared.
   * `now` in ms since the epoch.
   */
  find(id: string, now: number): { readonly record: ApiKeyRecord; readonly freshUntil: number } | undefined {
    const metadata = now < this.#freshUntil ? this.#listed.get(id) : undefined;
    const record = metadata === undefined ? undefined : v.safeParse(apiKeyRecordSchema, metadata);
    if (record?.success !== true) {
      return undefined;
    }
    this.count(now);
    return { record: record.output, freshUntil: this.#freshUntil };
  }

  /** A key was looked up, and there is one: a list would have had it. */
  count(now: number): void {
    this.#endMinute(now);
    this.#lookUps++;
  }

  /** Whether `read` is worth its price now. */
  isDue(now: number): boolean {
    this.#endMinute(now);
    return now >= this.#freshUntil && now >= this.#readingUntil && this.#worth() >= this.#pages;
  }

  /** Lists all keys. Never throws: what was known before holds for its time, and keys are looked up. */
  async read(keys: Pick<KVNamespace, "list">, now: number): Promise<void> {
    this.#readingUntil = now + limits.keyListMemoryMs;
    const pagesMax = Math.min(limits.keyListPagesMax, this.#worth());
    const listed = new Map<string, unknown>();
    try {
      let cursor: string | null = null;
      let pages = 0;
      do {
        const page: KVNamespaceListResult<unknown, string> = await keys.list({
          prefix: keyNamePrefix,
          cursor,
        });
        pages++;
        for (const { name, metadata } of page.keys) {
          listed.set(name.slice(keyNamePrefix.length), metadata);
        }
        cursor = page.list_complete ? null : page.cursor;
      } while (cursor !== null && pages < pagesMax);
      this.#pages = cursor === null ? pages : 2 * pages;
      this.#listed = listed;
      this.#freshUntil = now + limits.keyListMemoryMs;
      this.#readingUntil = Number.NEGATIVE_INFINITY;
    } catch (error) {
      this.#readingUntil = now + limits.keyListMemoryMs;
      writeLog("warn", { message: `${dependencies.kv} did not list the keys` }, error);
    }
  }

  /** So many operations of a list cost as much as the look-ups of a minute. */
  #worth(): number {
    return Math.floor(Math.max(this.#lookUps, this.#lookUpsBefore) / limits.lookUpsPerKeyList);
  }

  #endMinute(now: number): void {
    const minutes = Math.floor((now - this.#since) / limits.keyListMemoryMs);
    if (minutes !== 0) {
      this.#lookUpsBefore = minutes === 1 ? this.#lookUps : 0;
      this.#lookUps = 0;
      this.#since = now;
    }
  }
}
