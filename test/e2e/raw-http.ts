/** HTTP/1.1 by hand on a TCP connection, for requests that no HTTP client sends. */
import { connect } from "node:net";

/** What the connection does after the request was written: stays, ends (FIN) or breaks (RST). */
export type Ending = "stay" | "fin" | "rst";

export interface RawAnswer {
  /** Of each answer on the connection, in order; empty when it was closed without one. */
  readonly statuses: readonly number[];
  /** Everything that came. */
  readonly text: string;
}

/**
 * Writes the parts, waits `pauseMs`, ends as asked, and resolves when the server has closed the connection, when
 * `answers` answers came, or at `deadlineMs`.
 */
export function exchange(
  url: string,
  parts: readonly (string | Uint8Array)[],
  ending: Ending = "stay",
  { answers = 1, pauseMs = 100, deadlineMs = 10_000 } = {},
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let text = "";
    const statuses = () => [...text.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => Number(status));
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ statuses: statuses(), text });
    };
    const timer = setTimeout(finish, deadlineMs);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (statuses().length >= answers) {
        setTimeout(finish, 20); // the rest of the body, and nothing more
      }
    });
    socket.on("error", () => undefined); // a reset: the server's right
    socket.on("close", finish);
    for (const part of parts) {
      socket.write(part);
    }
    setTimeout(() => {
      if (ending === "fin") {
        socket.end();
      } else if (ending === "rst") {
        socket.resetAndDestroy();
      }
    }, pauseMs);
  });
}

/** A request's head; `length` undefined leaves the framing to `headers`. */
export function head(
  headers: Readonly<Record<string, string>>,
  length?: number,
  requestLine = "POST /v1/traces HTTP/1.1",
): string {
  const all = {
    host: "ingress.example",
    ...headers,
    ...(length === undefined ? {} : { "content-length": String(length) }),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${requestLine}\r\n${lines.join("")}\r\n`;
}

/** One chunk of a chunked body. */
export function chunk(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}
