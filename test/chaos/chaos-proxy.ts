/** The way to ClickHouse in a chaos run: a proxy that breaks requests as it is told, and says what it broke. */

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { withLoginOf } from "../../dev/clickhouse/login.ts";
import type { ProxyFault } from "./faults.ts";

/**
 * How long a request is held at most. The protocol lets an INSERT begin until its lease ends and run for
 * max_execution_time after; the fence has a margin of 60 s (2 s here) beyond both, which this stays below.
 */
const lateRequestMs = 1000;
/** Longer than a lease (90 s, 3 s here). */
const lateAnswerMs = 4000;

export interface ChaosProxy {
  readonly url: string;
  /** Decides about each request; undefined: forward. */
  choose: (isInsert: boolean) => ProxyFault | undefined;
  /** INSERTs of blocks that ClickHouse is working on at this moment. */
  insertsOut(): number;
  stop(): Promise<void>;
}

/** `fraction` gives a number from 0 to 1: how much of its time a late request is held. */
export async function startChaosProxy(target: string, fraction: () => number): Promise<ChaosProxy> {
  const { hostname, port } = new URL(target);
  let insertsOut = 0;
  const proxy = { choose: (_isInsert: boolean): ProxyFault | undefined => undefined };

  /** Sends the request on. `held` ms later than it came; its answer `slow` ms later than that came. */
  async function forward(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    isInsert: boolean,
    fault: ProxyFault | undefined,
  ): Promise<void> {
    const body = await readBody(incoming);
    if (body === undefined) {
      return; // the client went away in the middle: ClickHouse never sees the request
    }
    if (fault === "late_request") {
      await sleep(lateRequestMs * fraction());
    }
    const { host: _host, connection: _connection, ...headers } = incoming.headers;
    insertsOut += isInsert ? 1 : 0;
    let isOut = isInsert;
    const over = (): void => {
      insertsOut -= isOut ? 1 : 0;
      isOut = false;
    };
    const forwarded = request(
      { hostname, port, path: incoming.url, method: incoming.method, headers, agent: false },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("error", () => incoming.socket.destroy());
        answer.on("close", async () => {
          over();
          if (!answer.complete || fault === "cut_after") {
            incoming.socket.destroy();
            return;
          }
          if (fault === "late_answer") {
            await sleep(lateAnswerMs);
          }
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          if (fault === "cut_in_answer") {
            outgoing.flushHeaders();
            setTimeout(() => incoming.socket.destroy(), 20);
            return;
          }
          outgoing.end(Buffer.concat(parts));
        });
      },
    );
    forwarded.on("error", () => {
      over();
      incoming.socket.destroy();
    });
    forwarded.end(body);
  }

  const server: Server = createServer((incoming, outgoing) => {
    const isInsert = incoming.url?.includes("FORMAT+Native") === true;
    const fault = proxy.choose(isInsert);
    outgoing.on("error", () => undefined);
    switch (fault) {
      case "cut_before":
        incoming.socket.destroy();
        break;
      case "cut_in_body":
        incoming.once("data", () => incoming.socket.destroy());
        incoming.once("end", () => incoming.socket.destroy());
        break;
      case "error":
        answerAfterBody(incoming, outgoing, 500, "text/plain", "internal error");
        break;
      case "overloaded":
        answerAfterBody(incoming, outgoing, 503, "text/plain", "no upstream");
        break;
      case "html":
        answerAfterBody(incoming, outgoing, 200, "text/html", "<html>Checking your browser…</html>");
        break;
      default:
        forward(incoming, outgoing, isInsert, fault).catch(() => incoming.socket.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const listening = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: withLoginOf(`http://127.0.0.1:${listening}`, target),
    get choose() {
      return proxy.choose;
    },
    set choose(choose) {
      proxy.choose = choose;
    },
    insertsOut: () => insertsOut,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answerAfterBody(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  status: number,
  type: string,
  text: string,
): void {
  incoming.resume();
  incoming.once("end", () => outgoing.writeHead(status, { "content-type": type }).end(text));
}

/** The whole body, or undefined when the client went away before its end. */
async function readBody(incoming: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  try {
    for await (const part of incoming) {
      parts.push(part);
    }
  } catch {
    return undefined;
  }
  return incoming.complete ? Buffer.concat(parts) : undefined;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
