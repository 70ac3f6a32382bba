/**
 * What the server last answered with a status that exporters retry. The SDK's exporter tells its caller of such an answer
 * neither status nor text, so it is heard where Node's HTTP client says that an answer has come.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { ClientRequest, IncomingMessage } from "node:http";
import * as v from "valibot";

export interface LastRefusal {
  readonly status: number;
  /** `Retry-After`, in seconds; undefined: there is none, or it is a date. */
  readonly retryAfterSeconds: number | undefined;
  /** The body, in latin1: a Status in protobuf or JSON. */
  readonly data: string;
}

export interface RefusalListener {
  last(): LastRefusal | undefined;
  /** Stops listening. */
  close(): void;
}

const channel = "http.client.response.finish";
const bodyBytesMax = 64 * 1024;
const messageSchema = v.object({ request: v.instance(ClientRequest), response: v.instance(IncomingMessage) });

/** Listens to answers of this URL's host, with status 429, 502, 503 or 504 (OTLP/HTTP, "Failures"). */
export function listenToRefusals(url: string): RefusalListener {
  let last: LastRefusal | undefined;
  const { host } = new URL(url);
  const heard = (message: unknown): void => {
    const parsed = v.safeParse(messageSchema, message);
    if (!parsed.success || parsed.output.request.getHeader("host") !== host) {
      return;
    }
    const { response } = parsed.output;
    const { statusCode: status = 0 } = response;
    if (![429, 502, 503, 504].includes(status)) {
      return;
    }
    const seconds = Number(response.headers["retry-after"] ?? "none");
    const of = { status, retryAfterSeconds: Number.isNaN(seconds) ? undefined : seconds };
    last = { ...of, data: "" };
    let data = "";
    response.on("data", (chunk: Buffer) => {
      if (data.length < bodyBytesMax) {
        data += chunk.toString("utf8");
        last = { ...of, data };
      }
    });
  };
  subscribe(channel, heard);
  return { last: () => last, close: () => unsubscribe(channel, heard) };
}
