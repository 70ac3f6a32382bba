/** `npm run send`: the process around `send/send-spans.ts`. It owns the signals and the exit code, nothing else. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { sendSpans } from "./send/send-spans.ts";

const interrupt = new AbortController();
/** npm passes on the Ctrl-C that the terminal has already sent to every process: one press comes twice. */
const samePressMs = 300;
let pressedMs = 0;

process.on("SIGINT", () => {
  const nowMs = Date.now();
  if (interrupt.signal.aborted && nowMs - pressedMs > samePressMs) {
    process.exit(130);
  }
  pressedMs = interrupt.signal.aborted ? pressedMs : nowMs;
  interrupt.abort();
});

process.exitCode = await sendSpans({
  argv: process.argv.slice(2),
  env: process.env,
  readText: readTextIfThere,
  out: process.stdout,
  progress: process.stderr,
  interrupted: interrupt.signal,
});

function readTextIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
}
