/** The way to ClickHouse in a chaos run: a proxy that breaks requests on command, and says what it broke. */

import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import { withLoginOf } from "../../dev/clickhouse/login.ts";
import { lateText } from "../../shared/clickhouse/table-fence.ts";
import type { ProxyFault } from "./faults.ts";

/** How long a request is held whose sender waits for it: less than a lease. Those beyond are `delivered_late`. */
const lateRequestMs = 1000;
/** Longer than a lease (90 s, 3 s here). */
const lateAnswerMs = 4000;

export interface ChaosProxy {
  readonly url: string;
  /** Decides about each request; undefined: forward. */
  choose: (isInsert: boolean) => ProxyFault | undefined;
  /** INSERTs of blocks that ClickHouse is working on at this moment. */
  insertsOut(): number;
  /** Delivers every INSERT that is held, or that is to be delivered again, now. How ClickHouse answered them. */
  deliverHeld(): Promise<Delivered>;
  stop(): Promise<void>;
}

export interface Delivered {
  readonly delivered: number;
  /** Refused because their deadline had passed. */
  readonly late: number;
}

interface HeldInsert {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** `fraction` gives a number from 0 to 1: how much of its time a late request is held. */
export async function startChaosProxy(target: string, fraction: () => number): Promise<ChaosProxy> {
  const { hostname, port } = new URL(target);
  let insertsOut = 0;
  let late = 0;
  let delivered = 0;
  const held: HeldInsert[] = [];
  const heldTokens = new Set<string>();
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
    const { host: _host, connection: _connection, ...headers } = incoming.headers;
    if (fault === "delivered_late" || fault === "delivered_twice") {
      held.push({ path: incoming.url ?? "", headers, body });
    }
    if (fault === "delivered_late") {
      incoming.socket.destroy();
      return;
    }
    if (fault === "late_request") {
      await sleep(lateRequestMs * fraction());
    }
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

  function deliver({ path, headers, body }: HeldInsert): Promise<void> {
    return new Promise((resolve) => {
      const again = request({ hostname, port, path, method: "POST", headers, agent: false }, (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("close", () => {
          delivered += 1;
          late += Buffer.concat(parts).includes(lateText) ? 1 : 0;
          resolve();
        });
      });
      again.on("error", () => resolve());
      again.end(body);
    });
  }

  const server: Server = createServer((incoming, outgoing) => {
    const isInsert = incoming.url?.includes("FORMAT+Native") === true;
    outgoing.on("error", () => undefined);
    const token = new URLSearchParams(incoming.url?.split("?")[1]).get("insert_deduplication_token") ?? "";
    if (isInsert && heldTokens.has(token)) {
      // Its group has to give this token up, so that what is held meets rows under others.
      outgoing.setHeader("x-clickhouse-exception-code", "241");
      const text = "Code: 241. DB::Exception: Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)";
      answerAfterBody(incoming, outgoing, 500, "text/plain", text);
      return;
    }
    const fault = proxy.choose(isInsert);
    if (fault === "delivered_late") {
      heldTokens.add(token);
    }
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
    async deliverHeld() {
      for (const one of held.splice(0)) {
        await deliver(one);
      }
      return { delivered, late };
    },
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
