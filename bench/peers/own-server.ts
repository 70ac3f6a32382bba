/**
 * Our code (own-code.ts) behind Node's HTTP server, whose requests cost half of workerd's: `node own-server.ts PORT
 * CLICKHOUSE_URL`, until SIGTERM.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { successBody } from "../../shared/otlp/responses.ts";
import { receive } from "./own-code.ts";

const [, , portText = "", clickhouseUrl = ""] = process.argv;

/** A benchmark that loses rows must not go on as if it had not. */
function fail(error: unknown): never {
  console.error(error);
  process.exit(1);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  await receive(Buffer.concat(chunks), clickhouseUrl, (work) => void work.catch(fail));
  response.writeHead(200, { "Content-Type": "application/x-protobuf" }).end(successBody("pb"));
}

const server = createServer((request, response) => void answer(request, response).catch(fail));
server.listen(Number(portText), "127.0.0.1");
process.once("SIGTERM", () => process.exit(0));
