/** One address in front of replicas, as a load balancer that sends each request to the next of them. */
import { createServer, request, type Server } from "node:http";

export interface MovingAddress {
  readonly url: string;
  /** So many requests went to each. */
  readonly requests: readonly number[];
  close(): Promise<void>;
}

export async function moveBetween(urls: readonly string[]): Promise<MovingAddress> {
  const requests = urls.map(() => 0);
  let next = 0;
  const server: Server = createServer((incoming, outgoing) => {
    const at = next++ % urls.length;
    requests[at] = (requests[at] ?? 0) + 1;
    const { method = "GET", headers, url: path = "/" } = incoming;
    const onward = request(`${urls[at] ?? ""}${path}`, { method, headers, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
      answer.once("error", () => outgoing.destroy());
    });
    // A replica that is away: the connection breaks, as through a balancer that has not noticed yet.
    onward.once("error", () => outgoing.destroy());
    incoming.once("error", () => onward.destroy());
    incoming.pipe(onward);
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
