/**
 * A person deleted rows and wants them again. Nothing is taken out of any memory: the payload's object is notified about
 * with cause `replay`, so that the ledger verifies it after its fence and inserts what is missing under a new token
 * (decision 0015). Here is only looked at which payloads that makes sense for.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { Fixed, Forgotten } from "../../shared/console/answers.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { idOfKey, isPayloadId, isPayloadKey, type PayloadId } from "../../shared/payload-key.ts";
import type { ReceiptClaim } from "../../shared/receipt.ts";
import { forgettingOf, type Presence, presenceOf } from "../../shared/reconcile/presence.ts";
import { completeDoorbell } from "./complete-doorbell.ts";
import { readReceiptClaims } from "./read-receipts.ts";
import { countRows, readTable } from "./read-table.ts";

interface Knows {
  whereIs(id: PayloadId): Promise<Whereabouts>;
}

interface Seen {
  readonly presence: Presence;
  readonly receipts: readonly ReceiptClaim[];
}

/** What the table has of these payloads. The ledger is asked before the rows are read: what ends in between is seen. */
export async function readPresences(
  clickHouse: ClickHouseConnection,
  ledger: Knows,
  ids: readonly PayloadId[],
): Promise<ReadonlyMap<PayloadId, Seen>> {
  if (ids.length === 0) {
    return new Map();
  }
  const at = await Promise.all(ids.map((id) => ledger.whereIs(id)));
  const found = await readReceiptClaims(clickHouse, ids);
  const receipts = Map.groupBy(found, ({ key }) => idOfKey(key));
  // This is for the operator's answer only, not evidence: what a lagging replica does not show, VERIFY sees behind the barrier.
  const [{ rows }, { oldestDay }] = await Promise.all([
    countRows(clickHouse, ids, null),
    readTable(clickHouse, Date.now(), null),
  ]);
  return new Map(
    ids.map((id, i) => {
      const facts = {
        at: at[i] ?? ({ at: "unknown" } as const),
        receipts: receipts.get(id) ?? [],
        rowsByDay: rows.get(id) ?? [],
        oldestDay,
      };
      return [id, { presence: presenceOf(facts), receipts: facts.receipts }];
    }),
  );
}

/** Lets payloads in again whose rows a person deleted. `asked`: keys or ids, at most `limits.forgetKeysMax`. */
export async function forget(
  bucket: R2Bucket,
  queue: Queue<Doorbell>,
  clickHouse: ClickHouseConnection,
  ledger: Knows,
  asked: readonly string[],
): Promise<Fixed<Forgotten>> {
  const taken: string[] = [];
  const heldNext: string[] = [];
  const refused: { asked: string; why: string }[] = [];
  const missing: string[] = [];
  const idOf = (text: string) => (isPayloadId(text) ? text : isPayloadKey(text) ? idOfKey(text) : undefined);
  const ids = [...new Set(asked.map(idOf))].filter((id) => id !== undefined);
  const seen = await readPresences(clickHouse, ledger, ids);
  const notified = new Set<PayloadId>();
  for (const text of asked) {
    const id = idOf(text);
    const one = id === undefined ? undefined : seen.get(id);
    if (id === undefined || one === undefined) {
      missing.push(text);
      continue;
    }
    if (notified.has(id)) {
      taken.push(text); // the same payload, asked for by its other key
      continue;
    }
    const doorbell = await findObject(bucket, one.receipts, text);
    if (doorbell === null && one.presence === "no_receipt") {
      missing.push(text);
      continue;
    }
    const forgetting = forgettingOf(one.presence, doorbell !== null);
    if (forgetting.kind === "refuse" || doorbell === null) {
      refused.push({ asked: text, why: forgetting.kind === "refuse" ? forgetting.why : "R2 has no object" });
      continue;
    }
    await queue.send(doorbell);
    notified.add(id);
    taken.push(text);
    if (forgetting.isHeldNext) {
      heldNext.push(text);
    }
  }
  return { taken, heldNext, refused, missing };
}

/** The doorbell of an object of the payload. Null: R2 has none of it. */
async function findObject(
  bucket: R2Bucket,
  receipts: readonly ReceiptClaim[],
  asked: string,
): Promise<Doorbell | null> {
  // Which key it is does not matter: VERIFY looks under the stored one first. It is the likeliest to have an object.
  const stored = receipts.filter(({ outcome }) => outcome === "stored").map(({ key }) => key);
  const others = [...(isPayloadKey(asked) ? [asked] : []), ...receipts.map(({ key }) => key)];
  for (const key of [...new Set([...stored, ...others])].slice(0, limits.forgetHeadsMax)) {
    const doorbell = await completeDoorbell(bucket, key, "replay");
    if (doorbell !== null) {
      return doorbell;
    }
  }
  return null;
}
