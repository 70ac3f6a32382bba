/**
 * `npm run bench -- pipeline [spans] [checkout]`: what a span costs the whole local pipeline (in workerd three Workers, and the
 * simulators of R2, queues, KV and Durable Objects; and the Node process beside it) while the spans that have gone through it
 * grow from 10^4 to 10^6, or `spans`. Merges run, as they would; ClickHouse's CPU is told apart. With another checkout, which has
 * its own node_modules, that one's pipeline is measured first, in the same way, and the ratios are said.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { assert } from "../../shared/assert.ts";
import { startEngineSession } from "../engine-session.ts";
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
/** At each size, behind so many that have gone through. */
const spansMeasured = 50_000;

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
  /** us of CPU a span; of it what is Node's. */
  readonly pipelineUsASpan: number;
  readonly nodeUsASpan: number;
  readonly engineUsASpan: number;
}

export async function benchPipeline(spans = "1000000", checkout?: string): Promise<void> {
  const here = join(import.meta.dirname, "../..");
  const before = checkout === undefined ? null : await measureCheckout(resolve(checkout), Number(spans));
  const lines = await measureCheckout(here, Number(spans));
  const ratios = before?.map((line, i) => {
    const now = lines[i];
    assert(now !== undefined, "both were measured at the same sizes");
    return {
      spansBefore: line.spansBefore,
      receiver: line.pipelineUsASpan / now.pipelineUsASpan,
      withEngine: (line.pipelineUsASpan + line.engineUsASpan) / (now.pipelineUsASpan + now.engineUsASpan),
    };
  });
  console.log(JSON.stringify({ benchmark: "pipeline", before, lines, ratios }));
}

/** With the checkout's own schema and code, on a new server. */
async function measureCheckout(checkout: string, spansMax: number): Promise<readonly Line[]> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-pipeline-"));
  const engine = await startEngineSession();
  try {
    const { target, process } = await ownPipeline(folder, checkout).start(engine.url);
    try {
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
      // What compiles at run time is compiled by then.
      await sendUntil(10_000);
      const lines: Line[] = [];
      for (let total = 10_000; total <= spansMax; total *= 10) {
        const spent = () => ({
          pipeline: treeCpuSeconds(process.pid),
          node: cpuSecondsOf(process.pid),
          engine: engine.cpuSeconds(),
        });
        const before = { ...spent(), sent };
        await sendUntil(total + spansMeasured);
        const measured = (sent - before.sent) * spansEach;
        const after = spent();
        const line = {
          spansBefore: before.sent * spansEach,
          pipelineUsASpan: ((after.pipeline - before.pipeline) / measured) * 1e6,
          nodeUsASpan: ((after.node - before.node) / measured) * 1e6,
          engineUsASpan: ((after.engine - before.engine) / measured) * 1e6,
        };
        lines.push(line);
        console.log(JSON.stringify({ checkout, ...line }));
        await sendUntil(Math.min(total * 10, spansMax));
      }
      return lines;
    } finally {
      await process.stop();
    }
  } finally {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
