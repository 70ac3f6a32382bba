/**
 * What the real Collector made of the corpus, kept so that `npm test` compares without it. `requests.ndjson.gz` holds
 * the requests as they were sent, `rows.native.gz` the 22 columns of its rows,
 * `meant-differences.json` what it made of the requests for which the two are meant to differ.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import * as v from "valibot";

const folder = join(import.meta.dirname, "../fixtures/collector");
const requestsFile = join(folder, "requests.ndjson.gz");
const rowsFile = join(folder, "rows.native.gz");
const differencesFile = join(folder, "meant-differences.json");

const requestSchema = v.object({
  name: v.string(),
  type: v.picklist(["protobuf", "json"]),
  body: v.pipe(
    v.string(),
    v.transform((text) => Uint8Array.from(Buffer.from(text, "base64"))),
  ),
});
export type CapturedRequest = v.InferOutput<typeof requestSchema>;

export function readCapturedRequests(): CapturedRequest[] {
  const lines = gunzipSync(readFileSync(requestsFile)).toString("utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => v.parse(requestSchema, JSON.parse(line)));
}

/** One block in FORMAT Native. */
export function readCapturedRows(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(gunzipSync(readFileSync(rowsFile)));
}

const differencesSchema = v.record(v.string(), v.object({ status: v.number(), rows: v.array(v.string()) }));
/** The Collector's status and rows by the difference's name. */
export type CapturedDifferences = v.InferOutput<typeof differencesSchema>;

export function readCapturedDifferences(): CapturedDifferences {
  return v.parse(differencesSchema, JSON.parse(readFileSync(differencesFile, "utf8")));
}

export function writeCapturedDifferences(differences: CapturedDifferences): void {
  writeFileSync(differencesFile, `${JSON.stringify(differences, null, 2)}\n`);
}

export function writeCaptured(requests: readonly CapturedRequest[], rows: Uint8Array): void {
  const lines = requests.map(({ body, ...rest }) =>
    JSON.stringify({ ...rest, body: Buffer.from(body).toString("base64") }),
  );
  writeFileSync(requestsFile, gzipSync(lines.join("\n"), { level: 9 }));
  writeFileSync(rowsFile, gzipSync(rows, { level: 9 }));
}
