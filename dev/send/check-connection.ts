/**
 * Asks whether anybody listens where the spans are to go. The exporter takes a refused connection for a passing fault
 * and retries for seconds; before the first request it is most likely a server that was not started.
 */
import { connect } from "node:net";

const connectTimeoutMs = 5_000;

/** A sentence that says what is wrong; undefined when a connection was made. */
export function checkConnection(tracesUrl: string): Promise<string | undefined> {
  const url = new URL(tracesUrl);
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, ""); // a URL has an IPv6 address in brackets
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (problem: string | undefined): void => {
      socket.destroy();
      resolve(problem);
    };
    socket.setTimeout(connectTimeoutMs, () => end(`${url.host} does not answer`));
    socket.once("connect", () => end(undefined));
    socket.once("error", (error) => end(explain(url.host, error)));
  });
}

function explain(host: string, error: Error): string {
  const code = "code" in error ? String(error.code) : error.message;
  switch (code) {
    case "ECONNREFUSED":
      return `nothing listens at ${host} (connection refused): is \`npm run dev\` running?`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `there is no host ${host}`;
    default:
      return `no connection to ${host}: ${code}`;
  }
}
