/**
 * `npm run bench -- pipeline [spans]`: what a span costs the whole local pipeline's workerd (three Workers, and the
 * simulators of R2, queues, KV and Durable Objects) while the spans that have gone through it grow from 10^4 to 10^6,
 * or `spans`. Merges run, as they would; ClickHouse's CPU is told apart.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { startEngineSession } from "../engine-session.ts";
import { type LoadBody, makeLoad, sendLoad } from "../peers/load.ts";
import { waitForRows } from "../peers/rows-stored.ts";
import { ownPipeline } from "../peers/systems.ts";
import { treeCpuSeconds } from "../process-cost.ts";

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

export async function benchPipeline(spans = "1000000"): Promise<void> {
  const spansMax = Number(spans);
  const folder = mkdtempSync(join(tmpdir(), "headrace-pipeline-"));
  const engine = await startEngineSession();
  try {
    await migrateClickHouse({ url: engine.url });
    const { target, process } = await ownPipeline(folder).start(engine.url);
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
      const lines = [];
      for (let total = 10_000; total <= spansMax; total *= 10) {
        const before = { receiver: treeCpuSeconds(process.pid), engine: engine.cpuSeconds(), sent };
        await sendUntil(total + spansMeasured);
        const measured = (sent - before.sent) * spansEach;
        const line = {
          spansBefore: before.sent * spansEach,
          pipelineUsASpan: ((treeCpuSeconds(process.pid) - before.receiver) / measured) * 1e6,
          engineUsASpan: ((engine.cpuSeconds() - before.engine) / measured) * 1e6,
        };
        lines.push(line);
        console.log(JSON.stringify(line));
        await sendUntil(Math.min(total * 10, spansMax));
      }
      console.log(JSON.stringify({ benchmark: "pipeline", lines }));
    } finally {
      await process.stop();
    }
  } finally {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
