/**
 * One INSERT, from the consumer's request to ClickHouse's answer, with all that was seen to happen on the way
 * (docs/facts.md: deduplication, errors). The server works by itself: the client may be dead, or have given up, when
 * it commits.
 */
import type { Answer } from "../../../shared/clickhouse/errors.ts";
import { insertIds } from "../../../shared/clickhouse/statements.ts";
import { elsewhereText, lateText } from "../../../shared/clickhouse/table-fence.ts";
import { type TableAnswer, witnessOf } from "../../../shared/clickhouse/table-identity.ts";
import type { DeliveryEffects } from "../../../shared/delivery/effects.ts";
import type { GroupTask, StoredPayload } from "../../../shared/ledger/group.ts";
import { idOfKey } from "../../../shared/payload-key.ts";
import type { Process } from "./clock.ts";
import { short } from "./ledger-shell.ts";
import type { StoredObject } from "./object-store.ts";
import type { Rows, RunningInsert } from "./traces-table.ts";
import { Unanswered, type World } from "./world.ts";

const ok: Answer = { httpStatus: 200, exceptionCode: null, text: "", clickHouseHeaders: true };
const failed = (code: number, text: string): Answer => ({
  httpStatus: 500,
  exceptionCode: String(code),
  text,
  clickHouseHeaders: true,
});

/** Unanswered: no answer came before the caller gave up. `patienceMs`: how long it waits. */
export function* sendInsert(
  world: World,
  task: Extract<GroupTask, { step: "insert" }>,
  objects: readonly StoredObject[],
  payloads: readonly StoredPayload[],
  blocks: number,
  codecVersion: number,
  patienceMs: number,
): Process<DeliveryEffects["sendBlock"]["answers"] | Unanswered> {
  const answer = yield* answerTo(world, task, objects, payloads, blocks, codecVersion, patienceMs);
  return answer === null ? new Unanswered("no answer") : { answer, writtenRows: undefined };
}

function* answerTo(
  world: World,
  task: Extract<GroupTask, { step: "insert" }>,
  objects: readonly StoredObject[],
  payloads: readonly StoredPayload[],
  blocks: number,
  codecVersion: number,
  patienceMs: number,
): Process<Answer | null> {
  const { fate, clock, settings, servers } = world;
  const rows = payloads.flatMap(({ key, rowsByDay }) =>
    rowsByDay.map(({ day, rows }) => ({ id: idOfKey(key), day, rows })),
  );
  if (world.isOutage || fate.strikes("insert fails before")) {
    yield 10;
    return null;
  }
  if (fate.strikes("insert hangs")) {
    yield patienceMs; // the connection is there, and nobody at its other end
    return null;
  }
  if (fate.strikes("proxy answers")) {
    const status = [200, 502, 404][fate.within(0, 2)] ?? 200;
    yield 10;
    return { httpStatus: status, exceptionCode: null, text: "<html>", clickHouseHeaders: false };
  }
  if (fate.strikes("busy")) {
    yield 10;
    return failed(252, "Too many parts (301)");
  }
  if (fate.strikes("halted")) {
    yield 10;
    return failed(60, "UNKNOWN_TABLE");
  }
  if (fate.strikes("insert arrives late")) {
    // Something in between took the request and keeps it: a proxy whose server wakes, a machine that was paused.
    const afterMs = fate.sometime(arrivesWithinMs);
    clock.after(afterMs, () => arrive(world, task, rows, blocks, codecVersion, "late"));
    yield Math.min(patienceMs, afterMs + 10);
    return null;
  }
  if (fate.strikes("insert arrives twice")) {
    clock.after(fate.sometime(arrivesWithinMs), () =>
      arrive(world, task, rows, blocks, codecVersion, "again"),
    );
  }
  const sent = insertIds(task.group, task.attempt);
  const token = tokenOf(sent.insert_deduplication_token, blocks);
  if (isLate(world, task)) {
    yield 20;
    return failed(395, `Code: 395. DB::Exception: ${lateText}: while executing`);
  }
  const { table, answer: server } = servers.reach();
  if (isElsewhere(task, server)) {
    yield 20;
    return failed(395, `Code: 395. DB::Exception: ${elsewhereText}: while executing`);
  }
  const run = table.begin(sent.query_id, token, rows, clock.now);
  world.witness.inserts.push({
    group: task.group,
    token,
    content: `${codecVersion} ${blocks} ${rows.map(({ id, day, rows }) => `${id}/${day}=${rows}`).join(" ")}`,
    at: clock.now,
    deadline: task.deadline,
  });
  world.say(
    () =>
      `INSERT ${short(task.group)}.${task.attempt} begins: ${rows.map(({ id, day, rows }) => `${id.slice(4, 8)}/${day}=${rows}`).join(" ")}`,
  );
  const isRefused = objects.some(({ content }) => content.flaw === "refused");
  if (isRefused || clock.now < world.brokenUntil) {
    table.end(run);
    yield 20;
    // What breaks a schema breaks it for everybody: as if each row were wrong.
    return failed(117, "INCORRECT_DATA");
  }
  if (objects.some(({ content }) => content.flaw === "large")) {
    table.end(run);
    yield 20;
    return failed(241, "memory limit exceeded");
  }
  if (objects.some(({ content }) => content.flaw === "timeout")) {
    yield Math.min(patienceMs, settings.insertMs);
    table.end(run);
    return failed(159, "timeout exceeded");
  }
  if (fate.strikes("quorum is unknown")) {
    // 319: written here, and perhaps at too few replicas. 286: an earlier one waits for its quorum. 285: not begun.
    const code = [319, 286, 285][fate.within(0, 2)] ?? 319;
    if (code === 319) {
      commitAll(world, run);
    }
    table.end(run);
    yield 20;
    return failed(code, "quorum");
  }
  if (objects.some(({ content }) => content.flaw === "unlisted")) {
    table.end(run);
    yield 20;
    return failed(7777, "A_CODE_OF_TOMORROW");
  }
  if (fate.strikes("unlisted")) {
    const isStored = fate.choices.oneOf(2) === 1;
    if (isStored) {
      commitAll(world, run);
    }
    table.end(run);
    yield 20;
    return failed(7777, "A_CODE_OF_TOMORROW");
  }

  const isSlowest = fate.strikes("insert slowest");
  const isSlow = isSlowest || fate.strikes("insert slow");
  const runsOn = fate.strikes("insert runs on");
  const overruns = fate.strikes("insert overruns");
  const duration = overruns
    ? fate.within(settings.insertMs, 10 * settings.insertMs) // max_execution_time is looked at between blocks only
    : isSlowest
      ? settings.insertMs
      : isSlow || runsOn
        ? fate.within(1000, settings.insertMs)
        : fate.between(1, world.profile.insertMs);
  // "Too many parts", "memory limit": known not to be stored, says the table; a view may say so after the commit.
  const busyAfter = fate.strikes("busy after commit");
  const breaksOff = fate.strikes("insert breaks off");
  const viewFails = fate.strikes("view fails");
  const isUnheard = runsOn || fate.strikes("insert answer lost");
  let answer: Answer | null = ok;
  // The first day's part may be committed long before the last one's.
  const [first] = run.days;
  const rest = run.days.slice(1);
  const early =
    rest.length > 0 && (isSlow || runsOn || overruns || breaksOff) ? fate.within(0, duration) : duration;
  clock.after(early, () => {
    if (run.state === "running" && first !== undefined) {
      commit(world, run, first, viewFails);
    }
  });
  clock.after(duration, () => {
    if (run.state !== "running") {
      answer = null; // killed, or the server died
      return;
    }
    if (breaksOff) {
      answer = failed(999, "KEEPER_EXCEPTION");
    } else {
      for (const day of rest) {
        commit(world, run, day, viewFails);
      }
      // A user's view raises its errors after the commit, with whatever code its query has.
      answer = viewFails ? failed(fate.within(0, 1) === 0 ? 117 : 60, "while pushing to view") : ok;
      answer = busyAfter ? failed(241, "memory limit, while pushing to view") : answer;
    }
    table.end(run);
    if (answer === ok && !isUnheard) {
      for (const { id, day } of rows) {
        world.witness.shown.add(`${id}/${day}`);
      }
    }
  });
  if (isUnheard) {
    yield fate.between(10, Math.max(10, Math.min(patienceMs, duration)));
    return null;
  }
  if (duration + 10 > patienceMs) {
    yield patienceMs;
    return null;
  }
  yield duration + 10;
  return answer;
}

/** The number of a body's blocks is part of what ClickHouse remembers (test/engine/sliced-bodies.test.ts). */
function tokenOf(token: string, blocks: number): string {
  return `${token} of ${blocks}`;
}

/** What something in between held back reaches the server at last, and nobody waits for its answer. */
function arrive(
  world: World,
  task: Extract<GroupTask, { step: "insert" }>,
  rows: readonly Rows[],
  blocks: number,
  codecVersion: number,
  how: string,
): void {
  const { table, answer: server } = world.servers.reach();
  if (world.isOutage || isLate(world, task) || isElsewhere(task, server)) {
    return;
  }
  const sent = insertIds(task.group, task.attempt);
  const token = tokenOf(sent.insert_deduplication_token, blocks);
  world.say(() => `INSERT ${short(task.group)}.${task.attempt} arrives ${how}, of version ${codecVersion}`);
  const run = table.begin(sent.query_id, token, rows, world.clock.now);
  for (const day of run.days) {
    table.commit(run, day, world.clock.now);
  }
  table.end(run);
}

/** The fence: the statement itself says until when it may begin, by the server's clock. */
function isLate({ clock, skews }: World, { serverDeadline }: { readonly serverDeadline: number }): boolean {
  return clock.now + skews.server >= serverDeadline;
}

/**
 * And for which table it is. By the column of a table that was created anew it may go: a person may have copied the old one, its
 * column with it.
 */
function isElsewhere(
  { table, byColumn }: { readonly table: string | null; readonly byColumn?: boolean },
  server: TableAnswer,
): boolean {
  if (table === null || witnessOf(server).table === table) {
    return false;
  }
  const mayBeCopy = server.replica !== null || table.split(" ")[1] === server.serverUuid;
  return !(byColumn === true && mayBeCopy);
}

/** How long a request may be held back on its way. */
const arrivesWithinMs = 3_600_000;

function commitAll(world: World, run: RunningInsert): void {
  for (const day of run.days) {
    commit(world, run, day);
  }
}

function commit(world: World, run: RunningInsert, day: number, viewFails = false): void {
  world.table.commit(run, day, world.clock.now, viewFails);
  world.say(() => `  committed ${run.queryId.replace(/^0+/, "")} day ${day}`);
}
