/** A headless Chromium with one pipe to it: the DevTools protocol, as much of it as opens a page and asks it things. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import * as v from "valibot";

/** The command of an installed Chromium, or undefined. */
export function findChromium(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  return names.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}

export interface Page {
  /** What the expression gives, awaited, as JSON. Rejects with what the page threw. */
  evaluate(expression: string): Promise<unknown>;
  /** Sizes the window, and says which colours the system prefers. */
  show(view: View): Promise<void>;
  /** Presses a key: `Tab`, `Enter`, `Escape`, `ArrowLeft`, a character. */
  press(key: string): Promise<void>;
  /** A PNG of the whole page. */
  screenshot(): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface View {
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
}

export interface Chromium {
  /** Opens a page and waits until the condition holds in it: by default, until its script has set `globalThis.ready`. */
  open(url: string, condition?: string): Promise<Page>;
  stop(): Promise<void>;
}

const answerSchema = v.looseObject({
  id: v.optional(v.number()),
  result: v.optional(v.looseObject({})),
  error: v.optional(v.looseObject({ message: v.string() })),
});
const evaluatedSchema = v.looseObject({
  result: v.looseObject({ value: v.optional(v.unknown()) }),
  exceptionDetails: v.optional(
    v.looseObject({ exception: v.optional(v.looseObject({ description: v.optional(v.string()) })) }),
  ),
});

const metricsSchema = v.looseObject({
  cssContentSize: v.object({ width: v.number(), height: v.number(), x: v.number(), y: v.number() }),
});

/** `more`: flags of its command line besides those that it needs here. */
export async function startChromium(command: string, more: readonly string[] = []): Promise<Chromium> {
  const profile = mkdtempSync(join(tmpdir(), "headrace-chromium-"));
  const root = process.getuid?.() === 0; // its sandbox refuses to run as root
  const flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
  const child = spawn(
    command,
    [
      ...flags,
      ...more,
      ...(root ? ["--no-sandbox"] : []),
      `--user-data-dir=${profile}`,
      "--remote-debugging-pipe",
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true },
  );
  const closed = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
  });
  const call = protocol(child.stdio[3] as Writable, child.stdio[4] as Readable);

  return {
    async open(url, condition = "globalThis.ready === true") {
      const { targetId } = await call(v.looseObject({ targetId: v.string() }), "Target.createTarget", {
        url,
      });
      const attach = { targetId, flatten: true };
      const { sessionId } = await call(
        v.looseObject({ sessionId: v.string() }),
        "Target.attachToTarget",
        attach,
      );
      const evaluate = async (expression: string): Promise<unknown> => {
        const params = { expression, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await call(
          evaluatedSchema,
          "Runtime.evaluate",
          params,
          sessionId,
        );
        if (exceptionDetails !== undefined) {
          throw new Error(exceptionDetails.exception?.description ?? "the page threw");
        }
        return result.value;
      };
      // A page that is being loaded has no context to evaluate in.
      while ((await evaluate(condition).catch(() => false)) !== true) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const reportFindings = (method: string, params: object) =>
        call(v.looseObject({}), method, params, sessionId);
      return {
        evaluate,
        async show({ width, height, scheme }) {
          const features = [{ name: "prefers-color-scheme", value: scheme }];
          await reportFindings("Emulation.setDeviceMetricsOverride", {
            width,
            height,
            deviceScaleFactor: 1,
            mobile: false,
          });
          await reportFindings("Emulation.setEmulatedMedia", { features });
        },
        async press(key) {
          const text = key === "Enter" ? "\r" : key.length === 1 ? key : undefined;
          const code = keyCodes[key] ?? key.toUpperCase().charCodeAt(0);
          const event = { key, code: key, windowsVirtualKeyCode: code };
          await reportFindings("Input.dispatchKeyEvent", {
            type: "keyDown",
            ...event,
            ...(text === undefined ? {} : { text }),
          });
          await reportFindings("Input.dispatchKeyEvent", { type: "keyUp", ...event });
        },
        async screenshot() {
          const { cssContentSize } = await call(metricsSchema, "Page.getLayoutMetrics", {}, sessionId);
          const clip = { ...cssContentSize, scale: 1 };
          const picture = { format: "png", captureBeyondViewport: true, clip };
          const { data } = await call(
            v.looseObject({ data: v.string() }),
            "Page.captureScreenshot",
            picture,
            sessionId,
          );
          return Buffer.from(data, "base64");
        },
        close: async () => void (await call(v.looseObject({}), "Target.closeTarget", { targetId })),
      };
    },
    async stop() {
      await call(v.looseObject({}), "Browser.close", {}).catch(() => undefined);
      const timer = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, "SIGKILL"), 3000);
      await closed;
      clearTimeout(timer);
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Windows' virtual key codes, by which the protocol tells keys that write nothing. */
const keyCodes: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  End: 35,
  Home: 36,
  ArrowLeft: 37,
  ArrowRight: 39,
};

type Call = <Schema extends v.GenericSchema>(
  schema: Schema,
  method: string,
  params: object,
  sessionId?: string,
) => Promise<v.InferOutput<Schema>>;

/** Messages are JSON, each ended by a zero byte. */
function protocol(input: Writable, output: Readable): Call {
  const waiting = new Map<number, (answer: v.InferOutput<typeof answerSchema>) => void>();
  let rest = "";
  output.setEncoding("utf8");
  output.on("data", (text: string) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop() ?? "";
    for (const message of messages) {
      const answer = v.parse(answerSchema, JSON.parse(message));
      waiting.get(answer.id ?? 0)?.(answer); // what has no id is an event
      waiting.delete(answer.id ?? 0);
    }
  });
  output.on("close", () => {
    for (const answered of waiting.values()) {
      answered({ error: { message: "Chromium has ended" } });
    }
  });
  let last = 0;
  return async (schema, method, params, sessionId) => {
    const id = ++last;
    const answer = await new Promise<v.InferOutput<typeof answerSchema>>((resolve) => {
      waiting.set(id, resolve);
      input.write(
        `${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`,
      );
    });
    if (answer.error !== undefined) {
      throw new Error(`${method}: ${answer.error.message}`);
    }
    return v.parse(schema, answer.result);
  };
}
