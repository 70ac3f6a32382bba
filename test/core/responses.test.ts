import { describe, expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { partialSuccessBody, statusBody, successBody } from "../../shared/otlp/responses.ts";
import { bytesField, stringField, varintField } from "../fixtures/protobuf.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe("OTLP answers", () => {
  test("full success is nothing in protobuf and {} in JSON", () => {
    expect(successBody("pb")).toHaveLength(0);
    expect(text(successBody("json"))).toBe("{}");
  });

  test("partial success carries the count and the reason", () => {
    expect(partialSuccessBody("pb", 300, "why")).toEqual(
      bytesField(1, [varintField(1, 300), stringField(2, "why")]),
    );
    expect(JSON.parse(text(partialSuccessBody("json", 300, "why")))).toEqual({
      partialSuccess: { rejectedSpans: "300", errorMessage: "why" },
    });
    expect(partialSuccessBody("pb", 0, "a warning")).toEqual(bytesField(1, stringField(2, "a warning")));
  });

  test("a failure is a google.rpc.Status", () => {
    expect(statusBody("pb", "größe")).toEqual(stringField(2, "größe"));
    expect(JSON.parse(text(statusBody("json", "größe")))).toEqual({ message: "größe" });
  });

  test("a long message is shortened, and no character is cut in two", () => {
    const long = "😀".repeat(limits.statusMessageCharsMax);
    const { message } = JSON.parse(text(statusBody("json", long)));
    expect(message.length).toBeLessThanOrEqual(limits.statusMessageCharsMax);
    expect(message).toMatch(/^(😀)+…$/u);
    expect(statusBody("pb", long).length).toBeLessThan(4 * limits.statusMessageCharsMax);
  });
});
