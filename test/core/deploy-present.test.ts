import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  parseDeployedVersions,
  parseNames,
  parseNamespaceId,
  parseQueueInfo,
  parseRules,
  parseSecrets,
  parseTag,
  parseVariable,
  parseVersions,
} from "../../cli/deploy/present.ts";

/** What the real wrangler printed (test/wrangler/capture.ts). */
function printed(name: string): string {
  return readFileSync(join(import.meta.dirname, "..", "fixtures", "wrangler", `${name}.txt`), "utf8");
}

describe("what wrangler prints about an account is understood", () => {
  test("buckets and lifecycle rules", () => {
    expect(parseNames(printed("set-up.r2-bucket-list"))).toEqual(["headrace-payloads", "other"]);
    expect(parseNames(printed("empty.r2-bucket-list"))).toEqual([]);
    expect(parseNames(printed("set-up.r2-lifecycle-list"))).toEqual(["headrace-backstop"]);
  });

  test("a queue's producers and consumers", () => {
    expect(parseQueueInfo(printed("set-up.queues-info"))).toEqual({
      producers: ["r2_bucket:headrace-payloads"],
      consumers: ["worker:headrace-consumer"],
    });
    expect(printed("empty.queues-info")).toContain('Queue "headrace-late" does not exist');
  });

  test("notification rules", () => {
    expect(parseRules(printed("set-up.r2-notification-list"))).toEqual([
      {
        id: "rule-1",
        queue: "headrace-late",
        prefix: "p/0/",
        suffix: "",
        events: ["PutObject", "CompleteMultipartUpload", "CopyObject"],
      },
      { id: "rule-2", queue: "other", prefix: "", suffix: ".jpg", events: ["DeleteObject"] },
    ]);
  });

  test("KV namespaces by title", () => {
    const listed = printed("set-up.kv-namespace-list");
    expect(parseNamespaceId(listed, "headrace-keys")).toBe("0123456789abcdef0123456789abcdef");
    expect(parseNamespaceId(listed, "headrace-keys-staging")).toBeUndefined();
    expect(parseNamespaceId(printed("empty.kv-namespace-list"), "headrace-keys")).toBeUndefined();
  });

  test("secrets' names, and the tag of the version that all requests get", () => {
    expect(parseSecrets(printed("set-up.secret-list"))).toEqual(["CLICKHOUSE_PASSWORD"]);
    expect(parseTag(printed("set-up.deployments-status"), printed("set-up.versions-list"))).toBe(
      "hr-0123456789abcdef",
    );
    const half = printed("set-up.deployments-status").replace('"percentage": 100', '"percentage": 50');
    expect(parseTag(half, printed("set-up.versions-list"))).toBe("");
    expect(parseDeployedVersions(printed("set-up.deployments-status"))).toEqual(["v2"]);
    expect(parseVersions(printed("set-up.versions-list"))).toEqual(["v1", "v2"]);
    expect(printed("empty.secret-list")).toMatch(/not found/);
    expect(printed("empty.deployments-status")).toMatch(/code: 10007/);
  });

  test("a variable of a version; a binding of another kind, or none, is no variable", () => {
    const version = printed("set-up.versions-view");
    expect(parseVariable(version, "ID_TIME_FROM")).toBe("2026-11-29T08:00Z");
    expect(parseVariable(version, "PAYLOADS")).toBe("");
    expect(parseVariable(version, "CLICKHOUSE_URL")).toBe("");
  });
});
