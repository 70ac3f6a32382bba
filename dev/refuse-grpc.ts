/**
 * Port 4317 of the local pipeline, the default of gRPC exporters. Headrace takes OTLP over HTTP, so every request here is
 * refused with an answer, in the client's own protocol, that says what to set. Without it a gRPC client sees
 * "connection refused" or "socket closed", and retries for ever.
 *
 * It is a help and not part of the pipeline: when the port is taken, that is logged and everything else starts.
 */
import { createServer as createHttp2Server, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { createServer, type Socket } from "node:net";

export interface GrpcPort {
  readonly port: number;
  stop(): Promise<void>;
}

/** gRPC, "Status codes": UNIMPLEMENTED is not retried (OTLP/gRPC, "Failures"). */
const unimplemented = "12";

/** What a client of HTTP/2 says first (RFC 9113, section 3.4): its first bytes tell it from one of HTTP/1. */
const prefaceStart = "PRI * HTTP/2";
const tlsHandshake = 0x16;

/** Connections at a time; a further one is closed at once. */
const connectionsMax = 64;
/** A connection that says nothing, and a call that does not end. */
const idleMs = 10_000;

const signals = /\.(metrics|logs|trace|profiles)\./;

/** The sentence for a call. `path`: that of gRPC, or empty. */
export function grpcRefusal(path: string, otlp: string): string {
  const signal = signals.exec(path)?.[1] ?? "trace";
  return signal === "trace"
    ? `Headrace takes OTLP over HTTP, not gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and OTEL_EXPORTER_OTLP_ENDPOINT=${otlp} in the exporter.`
    : `Headrace takes traces, over HTTP; it does not take ${signal}. Set OTEL_${signal.toUpperCase()}_EXPORTER=none in the exporter.`;
}

/**
 * Resolves with the port, or with why it is not listened on. `port` 0: a free one. `otlp`: where OTLP/HTTP is taken.
 * `onRefused` gets the sentence that each call is answered with.
 */
export async function refuseGrpc(
  port: number,
  otlp: string,
  onRefused: (message: string) => void,
): Promise<GrpcPort | string> {
  const sessions = new Set<Http2Session>();
  const sockets = new Set<Socket>();
  const http2 = createHttp2Server({ settings: { maxConcurrentStreams: 100 } });
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.setTimeout(idleMs, () => session.close());
  });
  http2.on("stream", (stream, headers) => {
    const message = grpcRefusal(headers[":path"] ?? "", otlp);
    refuseCall(stream, message);
    onRefused(message);
  });
  http2.on("sessionError", () => undefined); // no HTTP/2 behind the first bytes: Node closes it

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.once("data", (first) => {
      socket.pause();
      socket.setTimeout(0);
      if (first.toString("latin1", 0, prefaceStart.length) === prefaceStart) {
        socket.unshift(first);
        http2.emit("connection", socket);
        return;
      }
      const message = grpcRefusal("", otlp);
      if (first[0] !== tlsHandshake) {
        socket.write(http1Answer(message));
      }
      socket.destroySoon();
      onRefused(message);
    });
  });
  server.maxConnections = connectionsMax;

  const failure = await new Promise<string>((resolve) => {
    server.once("error", (error) => resolve("code" in error ? String(error.code) : error.message));
    server.listen(port, "127.0.0.1", () => resolve(""));
  });
  if (failure !== "") {
    const why =
      failure === "EADDRINUSE" ? "is taken by another program" : `cannot be listened on (${failure})`;
    return `Port ${port} ${why}: exporters of gRPC that call it get no hint to use OTLP over HTTP. Nothing else depends on it (HEADRACE_GRPC_PORT chooses another).`;
  }
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const session of sessions) {
        session.destroy();
      }
      for (const socket of sockets) {
        socket.destroy();
      }
      await closed;
    },
  };
}

/** One answer that is headers and trailers in one (gRPC, "Trailers-Only"); what the client sends meanwhile is not kept. */
function refuseCall(stream: ServerHttp2Stream, message: string): void {
  stream.on("error", () => undefined); // the client has gone
  stream.setTimeout(idleMs, () => stream.close());
  stream.respond(
    {
      ":status": 200,
      "content-type": "application/grpc",
      "grpc-status": unimplemented,
      // gRPC, "Status-Message": printable ASCII other than the percent sign is not escaped.
      "grpc-message": message.replace(/[^\x20-\x24\x26-\x7e]/g, encodeURIComponent),
    },
    { endStream: true },
  );
  stream.resume();
}

function http1Answer(message: string): string {
  const body = `${message}\n`;
  return `HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
}
