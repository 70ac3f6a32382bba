import { expect, test } from "vitest";
import { WireWriter } from "../../shared/otlp/wire-writer.ts";

test.each([1, 100, 127, 128, 200, 255, 300, 16_383, 16_384])(
  "a message of %i bytes keeps them, wherever the buffer ends",
  (length) => {
    const message = Uint8Array.from({ length }, (_, index) => (index % 250) + 1);
    for (let before = 0; before < 300; before++) {
      const writer = new WireWriter(before + length + 2);
      for (let i = 0; i < before; i++) {
        writer.byte(7);
      }
      const start = writer.open();
      writer.raw(message, 0, length);
      writer.close(start);
      writer.byte(9);
      const written = writer.finish();
      const body = written.subarray(written.length - 1 - length, -1);
      expect(Buffer.compare(body, message), `after ${before} bytes`).toBe(0);
      expect(written.at(-1)).toBe(9);
    }
  },
);
