/** One call of Cloudflare's GraphQL Analytics API. */
import type { ZoneAnswer } from "../../shared/front-door/answer.ts";
import type { ZoneQuestion } from "../../shared/front-door/question.ts";
import { limits } from "../../shared/limits.ts";

const address = "https://api.cloudflare.com/client/v4/graphql";

/** Whatever HTTP brings back is an answer; throws where nothing comes in time, or too much. */
export async function askZone(
  question: ZoneQuestion,
  token: string,
  fetcher: typeof fetch,
): Promise<ZoneAnswer> {
  const response = await fetcher(address, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(question),
    redirect: "manual", // the token goes to this address and to no other
    signal: AbortSignal.timeout(limits.zoneTimeoutMs),
  });
  return { status: response.status, text: await boundedText(response) };
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > limits.zoneAnswerBytesMax) {
      throw new Error(`its answer is longer than ${limits.zoneAnswerBytesMax} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
