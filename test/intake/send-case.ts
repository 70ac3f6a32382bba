/** Sends a case, and reads what is said: by a Collector or by us, in either encoding. */
import type { IntakeAnswer } from "./compare-answers.ts";
import type { IntakeCase } from "./requests.ts";

const mediaTypes = { protobuf: "application/x-protobuf", json: "application/json" } as const;
const messageCharsMax = 120;

/** The status and the words; what was taken is counted behind the receiver. `headers` are those of every case. */
export async function answerOf(
  { body, type, method = "POST", path = "/v1/traces", headers = {} }: IntakeCase,
  origin: string,
  common: Readonly<Record<string, string>>,
  send: (url: string, init: RequestInit) => Promise<Response>,
): Promise<Omit<IntakeAnswer, "spans">> {
  const isWithoutBody = method === "GET" || method === "HEAD" || method === "OPTIONS";
  const response = await send(`${origin}${path}`, {
    method,
    redirect: "manual",
    headers: { "content-type": mediaTypes[type], ...common, ...headers },
    ...(isWithoutBody ? {} : { body: new Uint8Array(body()) }),
  });
  const said = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, message: wordsOf(said).replace(/\s+/g, " ").slice(0, messageCharsMax) };
}

/** The readable part of an answer: JSON's message, or the longest text in protobuf. */
function wordsOf(body: Uint8Array): string {
  const text = new TextDecoder().decode(body);
  try {
    const { message, partialSuccess } = JSON.parse(text);
    return String(message ?? partialSuccess?.errorMessage ?? "");
  } catch {
    const [longest = ""] = (text.match(/[\x20-\x7e]{4,}/g) ?? []).toSorted((a, b) => b.length - a.length);
    return longest;
  }
}

/** Spans in an ExportTraceServiceRequest of a real encoder: framing alone, by the field numbers of the three levels. */
export function countSpans(body: Uint8Array, depth = 0): number {
  const field = [1, 2, 2][depth];
  let spans = 0;
  for (let at = 0; at < body.length; ) {
    const [tag, contentAt] = varintAt(body, at);
    if ((tag & 7) !== 2) {
      throw new Error(`a tag ${tag} where messages stand`);
    }
    const [length, from] = varintAt(body, contentAt);
    if (tag >>> 3 === field) {
      spans += depth === 2 ? 1 : countSpans(body.subarray(from, from + length), depth + 1);
    }
    at = from + length;
  }
  return spans;
}

function varintAt(body: Uint8Array, from: number): [value: number, end: number] {
  let value = 0;
  for (let at = from; ; at++) {
    const byte = body[at] ?? 0;
    value += (byte & 0x7f) * 2 ** (7 * (at - from));
    if (byte < 0x80) {
      return [value, at + 1];
    }
  }
}
