/**
 * The stages in a Node process of their own, forked by `runtimes.ts`: in the process that made the corpus, V8 marks
 * the SDK's objects again and again while zlib's output comes and goes, and that would be counted.
 */
import { type Bodies, makeStages, type StageName } from "./transcode-stages.ts";

export type ChildRequest =
  | { readonly load: Bodies }
  | { readonly run: { readonly stage: StageName; readonly passes: number } };

let stages: ReturnType<typeof makeStages> | undefined;

process.on("message", async (request: ChildRequest) => {
  if ("load" in request) {
    stages = makeStages(request.load);
    process.send?.(0);
    return;
  }
  const { stage, passes } = request.run;
  const before = process.cpuUsage();
  for (let pass = 0; pass < passes; pass++) {
    await stages?.[stage]();
  }
  const { user, system } = process.cpuUsage(before);
  process.send?.((user + system) / 1e6);
});
