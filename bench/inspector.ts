/** A Worker's inspector in workerd: what its isolate holds, asked from outside. */
import * as v from "valibot";

/** Bytes of V8's heap, and of what V8 knows of outside of it: mostly ArrayBuffers. What zlib and SQLite allocate is in neither. */
export interface Usage {
  readonly heapBytes: number;
  readonly externalBytes: number;
}

export interface Inspector {
  ask(method: string, params?: object): Promise<unknown>;
  usage(): Promise<Usage>;
  /** After a collection, for which workerd needs `exposeGc`. An isolate that computes answers when it has ended that. */
  inUse(): Promise<Usage>;
  close(): void;
}

/** V8 gives ArrayBuffers back on a thread of its own: read at once, 85 MB of what was collected still counted. */
export const sweepMs = 10;

const targetsSchema = v.array(v.looseObject({ id: v.string(), webSocketDebuggerUrl: v.string() }));
const usageSchema = v.object({
  usedSize: v.number(),
  embedderHeapUsedSize: v.number(),
  backingStorageSize: v.number(),
});
const createdSchema = v.object({ context: v.looseObject({ uniqueId: v.string() }) });
const evaluatedSchema = v.looseObject({ exceptionDetails: v.optional(v.unknown()) });
const messageSchema = v.looseObject({
  id: v.optional(v.number()),
  method: v.optional(v.string()),
  params: v.optional(v.unknown()),
  result: v.optional(v.unknown()),
});

/** Before Miniflare starts. */
export function exposeGc(): void {
  process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--expose-gc";
}

/** Of the Worker with this name. `onPaused`: it has stopped at a `debugger` statement. */
export async function connectInspector(
  inspectorUrl: URL,
  worker: string,
  onPaused: (params: unknown) => void = () => undefined,
): Promise<Inspector> {
  const answer = await fetch(`http://127.0.0.1:${inspectorUrl.port}/json`);
  const target = v.parse(targetsSchema, await answer.json()).find(({ id }) => id === `core:user:${worker}`);
  if (target === undefined) {
    throw new Error("workerd's inspector does not know the Worker");
  }
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const waiting = new Map<number, (result: unknown) => void>();
  let asked = 0;
  const context = Promise.withResolvers<string>();
  const ask = (method: string, params: object = {}): Promise<unknown> => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    waiting.set(++asked, resolve);
    socket.send(JSON.stringify({ id: asked, method, params }));
    return promise;
  };
  const usage = async (): Promise<Usage> => {
    const used = v.parse(usageSchema, await ask("Runtime.getHeapUsage"));
    return {
      heapBytes: used.usedSize + used.embedderHeapUsedSize,
      externalBytes: used.backingStorageSize,
    };
  };
  socket.addEventListener("message", ({ data }) => {
    const { id, method, params, result } = v.parse(messageSchema, JSON.parse(String(data)));
    if (id !== undefined) {
      waiting.get(id)?.(result);
      waiting.delete(id);
    } else if (method === "Debugger.paused") {
      onPaused(params);
    } else if (method === "Runtime.executionContextCreated") {
      context.resolve(v.parse(createdSchema, params).context.uniqueId);
    }
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  await ask("Runtime.enable");
  return {
    ask,
    usage,
    async inUse() {
      for (let times = 0; times < 2; times++) {
        // workerd does not answer HeapProfiler.collectGarbage.
        const params = { expression: "gc()", uniqueContextId: await context.promise };
        if (v.parse(evaluatedSchema, await ask("Runtime.evaluate", params)).exceptionDetails !== undefined) {
          throw new Error("workerd was not started with --expose-gc");
        }
        await new Promise((resolve) => setTimeout(resolve, sweepMs));
      }
      return await usage();
    },
    close: () => socket.close(),
  };
}
