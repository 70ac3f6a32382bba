/** Ports: whether one can be listened on, and which one is free. */
import { createServer } from "node:net";
import { CannotStart } from "./settings.ts";

/**
 * Resolves to `port`, or to a free one where `port` is 0. Throws `CannotStart` when it is taken, naming the
 * environment variable that chooses another.
 */
export async function claimPort(port: number, variable: string): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      const taken = "code" in error && error.code === "EADDRINUSE";
      reject(
        new CannotStart(
          taken
            ? `Port ${port} is taken by another program. Stop it, or choose another port with ${variable}.`
            : `Port ${port} cannot be listened on (${error.message}). Choose another with ${variable}.`,
        ),
      );
    });
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      const got = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => resolve(got));
    });
  });
}
