/**
 * A Cloudflare account in memory with the few answers of its API that `headrace deploy` reads through wrangler, for
 * capturing what the real wrangler prints (capture.ts).
 */
import { createServer, type Server } from "node:http";

const account = "00000000000000000000000000000001";
const queueId = "000000000000000000000000000000aa";
const createActions = ["PutObject", "CompleteMultipartUpload", "CopyObject"];

/** Answers by path below /accounts/{id}; null: 404 with the code of the real API. */
function answers(isEmpty: boolean): Readonly<Record<string, unknown>> {
  const queue = {
    queue_id: queueId,
    queue_name: "headrace-late",
    created_on: "2026-11-24T07:00:00Z",
    modified_on: "2026-11-24T07:00:00Z",
    producers: [{ type: "r2_bucket", bucket_name: "headrace-payloads" }],
    producers_total_count: 1,
    consumers: [{ type: "worker", script: "headrace-consumer", settings: {} }],
    consumers_total_count: 1,
  };
  const version = (id: string, tag: string | undefined) => ({
    id,
    number: 1,
    metadata: { created_on: "2026-11-24T07:00:00Z", author_email: "op@example.com", source: "wrangler" },
    annotations: { "workers/triggered_by": "upload", ...(tag === undefined ? {} : { "workers/tag": tag }) },
  });
  return isEmpty
    ? { "/queues": [], "/storage/kv/namespaces": [], "/r2/buckets": { buckets: [] } }
    : {
        "/queues": [queue],
        "/storage/kv/namespaces": [
          { id: "0123456789abcdef0123456789abcdef", title: "headrace-keys", supports_url_encoding: true },
        ],
        "/r2/buckets": {
          buckets: [
            { name: "headrace-payloads", creation_date: "2026-11-24T07:00:00Z" },
            { name: "other", creation_date: "2026-11-20T07:00:00Z" },
          ],
        },
        "/r2/buckets/headrace-payloads/lifecycle": {
          rules: [
            {
              id: "headrace-backstop",
              enabled: true,
              conditions: { prefix: "p/0/" },
              deleteObjectsTransition: { condition: { type: "Age", maxAge: 90 * 86_400 } },
            },
          ],
        },
        "/event_notifications/r2/headrace-payloads/configuration": {
          bucketName: "headrace-payloads",
          queues: [
            {
              queueId,
              queueName: "headrace-late",
              rules: [
                { ruleId: "rule-1", prefix: "p/0/", suffix: "", actions: createActions, createdAt: "" },
              ],
            },
            {
              queueId: "bb",
              queueName: "other",
              rules: [
                { ruleId: "rule-2", prefix: "", suffix: ".jpg", actions: ["DeleteObject"], createdAt: "" },
              ],
            },
          ],
        },
        "/workers/scripts/headrace-consumer/secrets": [{ name: "CLICKHOUSE_PASSWORD", type: "secret_text" }],
        "/workers/scripts/headrace-consumer/deployments": {
          deployments: [
            {
              id: "d1",
              source: "wrangler",
              strategy: "percentage",
              author_email: "op@example.com",
              created_on: "2026-11-24T07:00:00Z",
              versions: [{ version_id: "v2", percentage: 100 }],
            },
          ],
        },
        "/workers/scripts/headrace-consumer/versions": {
          items: [version("v1", undefined), version("v2", "hr-0123456789abcdef")],
        },
        "/workers/scripts/headrace-consumer/versions/v2": {
          ...version("v2", "hr-0123456789abcdef"),
          resources: {
            bindings: [
              { type: "r2_bucket", name: "PAYLOADS", bucket_name: "headrace-payloads" },
              { type: "plain_text", name: "ID_TIME_FROM", text: "2026-11-29T08:00Z" },
              { type: "secret_text", name: "CLICKHOUSE_PASSWORD" },
            ],
            script: { etag: "0", handlers: ["fetch"] },
            script_runtime: { compatibility_date: "2026-11-02" },
          },
        },
      };
}

/** Resolves with the base address for CLOUDFLARE_API_BASE_URL. */
export function startAccount(isEmpty: boolean): Promise<{ readonly server: Server; readonly url: string }> {
  const known = answers(isEmpty);
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
    const whole = known[pathname.replace(`/client/v4/accounts/${account}`, "")];
    const isPage = Array.isArray(whole);
    const result = isPage && Number(searchParams.get("page") ?? 1) > 1 ? [] : whole;
    response.setHeader("content-type", "application/json");
    response.statusCode = result === undefined ? 404 : 200;
    response.end(
      JSON.stringify({
        success: result !== undefined,
        errors:
          result === undefined
            ? [{ code: 10007, message: `This Worker does not exist on your account. (${pathname})` }]
            : [],
        messages: [],
        result: result ?? null,
        ...(isPage
          ? { result_info: { count: whole.length, page: 1, per_page: 100, total_count: whole.length } }
          : {}),
      }),
    );
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      resolve({ server, url: `http://127.0.0.1:${port}/client/v4` });
    });
  });
}

export const accountEnvironment = { CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: "not-a-token" };
