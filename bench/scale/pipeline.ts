/**
 * `npm run bench -- pipeline [spans] [checkout]`: what a span costs the whole local pipeline (in workerd three Workers, and the
 * simulators of R2, queues, KV and Durable Objects; and the Node process beside it) while the spans that have gone through it
 * grow from 10^4 to 10^6, or `spans`. Merges run, as they would; ClickHouse's CPU is counted apart. With another checkout, which has
 * its own node_modules, both pipelines run, each before a server of its own, and are measured in turns: what else the machine does
 * meets both. The ratios are of the rounds' medians.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { assert } from "../../shared/assert.ts";
import { type EngineSession, startEngineSession } from "../engine-session.ts";
import { median } from "../median.ts";
import { type LoadBody, makeLoad, sendLoad } from "../peers/load.ts";
import { waitForRows } from "../peers/rows-stored.ts";
import { ownPipeline } from "../peers/systems.ts";
import { cpuSecondsOf, treeCpuSeconds } from "../process-cost.ts";

const spansEach = 100;
const connections = 8;
/** Bodies that are made; each goes many times, as a payload of its own. */
const bodiesMade = 100;
/** Requests between two looks at the table: a queue that grows for ever would be measured as another thing. */
const requestsAtOnce = 500;
/** At each size, behind so many that have gone through: rounds in turns. */
const rounds = 5;
const spansPerRound = 20_000;
const mergesMsMax = 30_000;

/** The same spans under another id: a gzip member's comment (RFC 1952 section 2.3) is part of the body as received. */
function renamed({ gzip, spanIds }: LoadBody, count: number): LoadBody {
  const comment = new TextEncoder().encode(`${count}\0`);
  const bytes = new Uint8Array(gzip.length + comment.length);
  bytes.set(gzip.subarray(0, 10));
  bytes[3] = (bytes[3] ?? 0) | 0x10; // FCOMMENT
  bytes.set(comment, 10);
  bytes.set(gzip.subarray(10), 10 + comment.length);
  return { gzip: bytes, spanIds };
}

interface Line {
  readonly spansBefore: number;
  /** us of CPU a span, median of the rounds; of it what is Node's. */
  readonly pipelineUsASpan: number;
  readonly nodeUsASpan: number;
  /** Mean of the rounds, with the merges that they began. */
  readonly engineUsASpan: number;
}

interface Round {
  readonly pipeline: number;
  readonly node: number;
  readonly engine: number;
}

/** A checkout's pipeline, with its own schema and code, before a new server. */
export interface Side {
  readonly name: string;
  /** Of the Node process that started workerd. */
  readonly pid: number;
  readonly enginePid: number;
  sent(): number;
  sendUntil(spans: number): Promise<void>;
  /** us of CPU a span. */
  round(): Promise<Round>;
  stop(): Promise<void>;
}

export async function benchPipeline(spans = "1000000", checkout?: string): Promise<void> {
  const here = join(import.meta.dirname, "../..");
  const sides: Side[] = [];
  try {
    for (const folder of checkout === undefined ? [here] : [resolve(checkout), here]) {
      sides.push(await startSide(folder));
    }
    const sizes: (readonly Line[])[] = [];
    for (let total = 10_000; total <= Number(spans); total *= 10) {
      for (const side of sides) {
        await side.sendUntil(total);
      }
      sizes.push(await measureAt(sides));
    }
    const ratios = checkout === undefined ? undefined : sizes.map(ratiosOf);
    console.log(JSON.stringify({ benchmark: "pipeline", sizes, ratios }));
  } finally {
    for (const side of sides) {
      await side.stop();
    }
  }
}

/** All sides behind the spans that they have, in turns. */
async function measureAt(sides: readonly Side[]): Promise<readonly Line[]> {
  const before = sides.map((side) => side.sent());
  const measured = sides.map((): Round[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...sides.entries()];
    for (const [at, side] of round % 2 === 0 ? order : order.reverse()) {
      measured[at]?.push(await side.round());
    }
  }
  return sides.map((side, at) => {
    const [own = [], spansBefore = 0] = [measured[at], before[at]];
    const line = {
      spansBefore,
      pipelineUsASpan: median(own.map(({ pipeline }) => pipeline)),
      nodeUsASpan: median(own.map(({ node }) => node)),
      engineUsASpan: own.reduce((sum, { engine }) => sum + engine, 0) / own.length,
    };
    console.log(
      JSON.stringify({ checkout: side.name, ...line, rounds: own.map(({ pipeline }) => pipeline) }),
    );
    return line;
  });
}

function ratiosOf([before, now]: readonly Line[]) {
  assert(before !== undefined && now !== undefined, "both were measured");
  const whole = ({ pipelineUsASpan, engineUsASpan }: Line): number => pipelineUsASpan + engineUsASpan;
  return {
    spansBefore: before.spansBefore,
    receiver: before.pipelineUsASpan / now.pipelineUsASpan,
    withEngine: whole(before) / whole(now),
  };
}

/** What an INSERT sets going is its own, and not of the other side's turn. */
async function untilMerged(engine: EngineSession): Promise<void> {
  const deadline = performance.now() + mergesMsMax;
  while ((await engine.text("SELECT count() FROM system.merges")) !== "0" && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

export async function startSide(checkout: string): Promise<Side> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-pipeline-"));
  const engine = await startEngineSession();
  const { target, process } = await ownPipeline(folder, checkout).start(engine.url);
  const bodies = makeLoad(1, bodiesMade, spansEach, Date.now());
  let sent = 0;
  const sendUntil = async (total: number): Promise<void> => {
    while (sent * spansEach < total) {
      const count = Math.min(requestsAtOnce, total / spansEach - sent);
      const batch = Array.from({ length: count }, (_, i) => {
        const body = bodies[(sent + i) % bodiesMade];
        return body === undefined ? [] : [renamed(body, sent + i)];
      }).flat();
      const answers = await sendLoad(target, batch, connections);
      const refused = answers.filter(({ status }) => status !== 200).length;
      if (refused > 0) {
        throw new Error(`${refused} requests were not answered 200:\n${process.log().slice(-2000)}`);
      }
      sent += count;
      await waitForRows(engine, sent * spansEach);
    }
  };
  return {
    name: checkout,
    pid: process.pid,
    enginePid: engine.pid,
    sent: () => sent * spansEach,
    sendUntil,
    async round() {
      const spent = () => ({
        pipeline: treeCpuSeconds(process.pid),
        node: cpuSecondsOf(process.pid),
        engine: engine.cpuSeconds(),
      });
      const before = spent();
      await sendUntil(sent * spansEach + spansPerRound);
      const after = spent();
      await untilMerged(engine);
      const perSpan = (seconds: number): number => (seconds / spansPerRound) * 1e6;
      return {
        pipeline: perSpan(after.pipeline - before.pipeline),
        node: perSpan(after.node - before.node),
        engine: perSpan(engine.cpuSeconds() - before.engine),
      };
    },
    async stop() {
      await process.stop();
      await engine.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
