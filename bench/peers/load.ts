/**
 * Drives an OTLP/HTTP receiver with bodies in gzip, so many connections at once, each body once. A body that is not
 * answered 200 counts as failed; nothing is sent again here.
 */
import { Agent, request } from "node:http";
import { gzipSync } from "node:zlib";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { makeSpans } from "../corpus.ts";
import { Random } from "../random.ts";

/** One request's body, and the span ids that it brings. */
export interface LoadBody {
  readonly gzip: Uint8Array;
  readonly spanIds: readonly string[];
}

/** Seeded bodies with ids of their own; `startMs` is when their spans begin. */
export function makeLoad(seed: number, requests: number, spansEach: number, startMs: number): LoadBody[] {
  const random = new Random(seed);
  return Array.from({ length: requests }, (_, index) => {
    const spans = makeSpans(random, `service-${index % 12}`, spansEach, startMs);
    const protobuf = ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0);
    return { gzip: gzipSync(protobuf), spanIds: spans.map((span) => span.spanContext().spanId) };
  });
}

export interface Target {
  /** Without `/v1/traces`. */
  readonly url: string;
  readonly key?: string;
}

export interface Answer {
  readonly body: LoadBody;
  /** 0: no answer. */
  readonly status: number;
  /** `performance.now()` when the answer was complete. */
  readonly at: number;
}

/** Sends every body; `onAnswer` is called as answers come. At most `perSecond` requests begin a second. */
export async function sendLoad(
  target: Target,
  bodies: readonly LoadBody[],
  connections: number,
  onAnswer: (answer: Answer) => void = () => undefined,
  perSecond = Number.POSITIVE_INFINITY,
): Promise<Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const answers: Answer[] = [];
  const began = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < bodies.length; index = next++) {
      const body = bodies[index];
      if (body === undefined) {
        return;
      }
      const wait = began + (index * 1000) / perSecond - performance.now();
      if (wait > 0) {
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
      const status = await post(agent, target, body.gzip);
      const answer = { body, status, at: performance.now() };
      answers.push(answer);
      onAnswer(answer);
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
  return answers;
}

function post(agent: Agent, { url, key }: Target, body: Uint8Array): Promise<number> {
  return new Promise((resolve) => {
    const headers = {
      "Content-Type": "application/x-protobuf",
      "Content-Encoding": "gzip",
      "Content-Length": body.length,
      ...(key === undefined ? {} : { "x-api-key": key }),
    };
    const sent = request(`${url}/v1/traces`, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode ?? 0));
      response.once("error", () => resolve(0));
      response.once("close", () => resolve(0));
    });
    sent.once("error", () => resolve(0));
    sent.end(body);
  });
}
