/** Port 4317 of `npm run dev`: the answer to a client that speaks gRPC, or something else. */
import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { type GrpcPort, grpcRefusal, refuseGrpc } from "../../dev/refuse-grpc.ts";

const otlp = "http://127.0.0.1:4318";
const exportTraces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const sentence =
  "Headrace takes OTLP over HTTP, not gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 in the exporter.";

let grpc: GrpcPort;
let refused: string[] = [];

beforeEach(async () => {
  refused = [];
  const started = await refuseGrpc(0, otlp, (message) => refused.push(message));
  if (typeof started === "string") {
    throw new Error(started);
  }
  grpc = started;
  onTestFinished(() => started.stop());
});

/** A call as gRPC makes it, with so many bytes of a message. */
async function call(path: string, bytes = 100): Promise<IncomingHttpHeaders> {
  const client = connect(`http://127.0.0.1:${grpc.port}`);
  onTestFinished(() => client.destroy());
  const stream = client.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  const frame = Buffer.alloc(5 + bytes);
  frame.writeUInt32BE(bytes, 1);
  stream.end(frame);
  const [headers] = await once(stream, "response");
  stream.resume();
  await once(stream, "close");
  return headers;
}

test("a call of gRPC is answered UNIMPLEMENTED at once, with the sentence of what to set", async () => {
  expect(await call(exportTraces)).toMatchObject({
    ":status": 200,
    "content-type": "application/grpc",
    "grpc-status": "12",
    "grpc-message": sentence,
  });
  expect(refused).toEqual([sentence]);
});

test("the answer to metrics over gRPC says to switch them off", async () => {
  const { "grpc-message": message } = await call(
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
  );
  expect(message).toMatch(/does not take metrics\. Set OTEL_METRICS_EXPORTER=none/);
});

test("the sentence is in a header: what is not printable ASCII is escaped", async () => {
  const elsewhere = await refuseGrpc(0, "http://ümlaut%:1", () => undefined);
  if (typeof elsewhere === "string") {
    throw new Error(elsewhere);
  }
  onTestFinished(() => elsewhere.stop());
  grpc = elsewhere;
  const { "grpc-message": message } = await call(exportTraces);
  expect(message).toContain("http://%C3%BCmlaut%25:1");
  expect(decodeURIComponent(String(message))).toBe(grpcRefusal(exportTraces, "http://ümlaut%:1"));
});

test("a large message is taken off the wire, and the answer is the same", async () => {
  expect(await call(exportTraces, 4 << 20)).toMatchObject({ "grpc-status": "12" });
});

test("the answer to OTLP over HTTP/1 at the wrong port names the right one", async () => {
  const response = await fetch(`http://127.0.0.1:${grpc.port}/v1/traces`, { method: "POST", body: "x" });
  expect([response.status, await response.text()]).toEqual([400, `${sentence}\n`]);
  expect(refused).toEqual([sentence]);
});

test("TLS and noise end the connection, and the next call is answered", async () => {
  const tls = connectTls({ port: grpc.port, host: "127.0.0.1", rejectUnauthorized: false });
  await expect(once(tls, "secureConnect")).rejects.toThrow();
  for (const noise of ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame at all", "PRI * HTTP/2", "\0\0\0"]) {
    const socket = connectTcp(grpc.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.end(noise);
    socket.resume();
    await once(socket, "close");
  }
  expect(await call(exportTraces)).toMatchObject({ "grpc-status": "12" });
});

test("a port that is taken is a line that names the setting, and no error", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void other.close());
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  expect(await refuseGrpc(port, otlp, () => undefined)).toBe(
    `Port ${port} is taken by another program: exporters of gRPC that call it get no hint to use OTLP over HTTP. Nothing else depends on it (HEADRACE_GRPC_PORT chooses another).`,
  );
});

test("it stops while clients hold their connections open", async () => {
  const client = connect(`http://127.0.0.1:${grpc.port}`);
  client.on("error", () => undefined);
  await once(client, "connect");
  const silent = connectTcp(grpc.port, "127.0.0.1");
  silent.on("error", () => undefined);
  await once(silent, "connect");
  await grpc.stop();
  await expect.poll(() => [client.destroyed, silent.readyState]).toEqual([true, "closed"]);
});
