/** Requests as our own code writes them: one Native block of all. */
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { type Block, BlockBuilder } from "../../shared/rows/transcode.ts";
import { payloadId } from "../fixtures/blocks.ts";
import { bounds } from "../fixtures/protobuf.ts";

/** No rows where the body is malformed: the ingress answers 400. */
export function ourBlockOrNone(body: Uint8Array): Block {
  try {
    return ourBlock([{ type: "protobuf", body }]);
  } catch (error) {
    if (error instanceof MalformedBody) {
      return new BlockBuilder().finish();
    }
    throw error;
  }
}

export function ourBlock(requests: readonly { readonly type: string; readonly body: Uint8Array }[]): Block {
  const builder = new BlockBuilder();
  for (const { type, body } of requests) {
    const protobuf = type === "json" ? jsonToProtobuf(body) : body;
    const { spans, repairs } = inspectTraces(protobuf, bounds);
    if (spans > 0) {
      const read = { ...bounds, textsRepaired: repairs.texts > 0 };
      builder.add({ id: payloadId, tenant: "acme", body: protobuf, bounds: read, spans });
    }
  }
  return builder.finish();
}
