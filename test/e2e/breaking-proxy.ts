/** A proxy in front of ClickHouse that breaks requests on command, as networks and servers do. */

import { createServer, request, type Server } from "node:http";
import { withLoginOf } from "../../dev/clickhouse/login.ts";

/**
 * - `forward`: nothing is broken.
 * - `cut_before`: the connection breaks before ClickHouse sees the request.
 * - `cut_after`: ClickHouse does what was asked; its answer is lost.
 * - `html`: something in between answers 200 with a page of its own, and ClickHouse sees nothing.
 * - `error`: something in between answers 500.
 */
export type Fault = "forward" | "cut_before" | "cut_after" | "html" | "error";

export interface BreakingProxy {
  readonly url: string;
  /** What happens to the next INSERTs of blocks, in order; then `forward`. Other requests are forwarded. */
  readonly faults: Fault[];
  /** How long an INSERT of a block is held before it is forwarded, ms. */
  slowMs: number;
  /** INSERTs of blocks that were on their way at once, at most. */
  mostAtOnce(): number;
  /** INSERTs of blocks that came, whatever became of them. */
  inserts(): number;
  /** The parameters of the last of them. */
  lastInsert(): URLSearchParams;
  stop(): Promise<void>;
}

export async function startBreakingProxy(target: string): Promise<BreakingProxy> {
  const faults: Fault[] = [];
  let inserts = 0;
  let atOnce = 0;
  let mostAtOnce = 0;
  let lastInsert = new URLSearchParams();
  const proxy = { slowMs: 0 };
  const { hostname, port } = new URL(target);
  const server: Server = createServer((incoming, outgoing) => {
    const isInsert = incoming.url?.includes("FORMAT+Native") === true;
    const fault = isInsert ? (faults.shift() ?? "forward") : "forward";
    if (isInsert) {
      inserts += 1;
      lastInsert = new URL(incoming.url ?? "", target).searchParams;
    }
    const cut = () => incoming.socket.destroy();
    switch (fault) {
      case "cut_before":
        return cut();
      case "html":
        outgoing.writeHead(200, { "content-type": "text/html" });
        return outgoing.end("<html>Checking your browser…</html>");
      case "error":
        outgoing.writeHead(500, { "content-type": "text/plain" });
        return outgoing.end("internal error");
      case "forward":
      case "cut_after": {
        const { host: _host, ...headers } = incoming.headers;
        const options = { hostname, port, path: incoming.url, method: incoming.method, headers };
        const forwarded = request(options, (answer) => {
          if (fault === "cut_after") {
            answer.resume();
            answer.on("end", cut);
            return;
          }
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        });
        forwarded.on("error", cut);
        if (isInsert) {
          atOnce += 1;
          mostAtOnce = Math.max(mostAtOnce, atOnce);
          forwarded.once("close", () => {
            atOnce -= 1;
          });
        }
        const slowMs = isInsert ? proxy.slowMs : 0;
        return slowMs === 0 ? incoming.pipe(forwarded) : setTimeout(() => incoming.pipe(forwarded), slowMs);
      }
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const listening = typeof address === "object" && address !== null ? address.port : 0;
  return Object.assign(proxy, {
    url: withLoginOf(`http://127.0.0.1:${listening}`, target),
    faults,
    mostAtOnce: () => mostAtOnce,
    inserts: () => inserts,
    lastInsert: () => lastInsert,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
