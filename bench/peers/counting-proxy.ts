/** A TCP proxy on loopback that counts what goes to the server behind it. */

import { connect, createServer } from "node:net";
import { withLoginOf } from "../../dev/clickhouse/login.ts";

export interface CountingProxy {
  readonly url: string;
  /** Bytes sent to the server so far, HTTP's heads included. */
  bytes(): number;
  stop(): void;
}

export async function startCountingProxy(serverUrl: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(serverUrl);
  let bytes = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    client.on("data", (chunk) => {
      bytes += chunk.length;
    });
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy());
    upstream.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") {
    throw new Error("the proxy does not listen on a TCP port");
  }
  return {
    url: withLoginOf(`http://127.0.0.1:${address.port}`, serverUrl),
    bytes: () => bytes,
    stop: () => {
      server.close();
    },
  };
}
