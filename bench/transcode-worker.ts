/**
 * The stages inside workerd. Its clock does not advance while it computes, so the caller measures, by the
 * CPU time of the process.
 *
 * POST /bodies?spans=N&min=MS&max=MS with gzip bodies, each behind its length in four bytes; then
 * GET /run?stage=NAME&passes=N, answered when it is done.
 */
import { type Bodies, makeStages, type Stage, type StageName, stageNames } from "./transcode-stages.ts";

let stages: Readonly<Record<StageName, Stage>> | undefined;

function bodiesOf(query: URLSearchParams, bytes: Uint8Array): Bodies {
  const gzips: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    gzips.push(bytes.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return {
    spansEach: Number(query.get("spans")),
    gzips,
    bounds: { startMinMs: Number(query.get("min")), startMaxMs: Number(query.get("max")) },
  };
}

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/bodies") {
      stages = makeStages(bodiesOf(searchParams, new Uint8Array(await request.arrayBuffer())));
      return new Response("ready");
    }
    const name = stageNames.find((stage) => stage === searchParams.get("stage"));
    if (stages === undefined || name === undefined) {
      return new Response("no such stage", { status: 400 });
    }
    const stage = stages[name];
    for (let passes = Number(searchParams.get("passes")); passes > 0; passes--) {
      await stage();
    }
    return new Response("done");
  },
};
