/**
 * Our code (own-code.ts) behind Node's HTTP server, whose requests cost half of workerd's: `node own-server.ts PORT
 * [CLICKHOUSE_URL]`, until SIGTERM. Without a URL nothing is done with a body: what HTTP alone costs.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { receive } from "./own-code.ts";

/** The body of a whole success is an empty message: no bytes. */
const headers = { "Content-Type": "application/x-protobuf", "Content-Length": 0 };
const [, , portText = "", clickhouseUrl = ""] = process.argv;

/** A benchmark that loses rows must not go on as if it had not. */
function fail(error: unknown): never {
  console.error(error);
  process.exit(1);
}

/** The events of the stream, not its iterator, which would cost as much as all of our own code for one span. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.once("end", () => {
    const body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
    const received =
      clickhouseUrl === ""
        ? Promise.resolve()
        : receive(body, clickhouseUrl, (work) => void work.catch(fail));
    received.then(() => response.writeHead(200, headers).end()).catch(fail);
  });
}

const server = createServer(answer);
server.listen(Number(portText), "127.0.0.1");
process.once("SIGTERM", () => process.exit(0));
