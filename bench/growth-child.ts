/**
 * One shape in a Node process of its own, forked by `growth.ts`: with all of them in one process, V8 marks for each the
 * buffers that the others hold, and a stage of many short-lived buffers cost three times as much.
 */
import { prepareShape, type RunRound, type Shape, type StageName } from "./growth-shape.ts";

export type ChildRequest =
  | { readonly load: { readonly shape: Shape; readonly gzip: readonly Uint8Array[] } }
  | { readonly run: StageName };

let runRound: RunRound | undefined;

process.on("message", (request: ChildRequest) => {
  if ("load" in request) {
    runRound = prepareShape(request.load.shape, request.load.gzip);
    process.send?.(0);
    return;
  }
  process.send?.(runRound?.(request.run));
});
