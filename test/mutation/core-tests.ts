/** The `core` tests against one mutant after the other, in a process of their own that is replaced when it hangs. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";

export interface CoreTask {
  /** Relative to the root. */
  readonly file: string;
  /** What it reads as; null: as it is. */
  readonly text: string | null;
  readonly tests: readonly string[];
}

export interface CoreAnswer {
  /** The first test that failed; null: all passed. */
  readonly failed: string | null;
}

export class CoreTests {
  #child: ChildProcess | null = null;

  /** `timeout`: they did not end in time. */
  async run(task: CoreTask, timeoutMs: number): Promise<CoreAnswer | "timeout"> {
    const child = this.#child ?? fork(join(import.meta.dirname, "core-process.ts"), { stdio: "ignore" });
    this.#child = child;
    const answer = await new Promise<CoreAnswer | "timeout">((resolve, reject) => {
      const timer = setTimeout(() => end(() => resolve("timeout")), timeoutMs);
      const onMessage = (message: CoreAnswer): void => end(() => resolve(message));
      const onExit = (): void => end(() => reject(new Error("the process of the core tests ended")));
      const end = (then: () => void): void => {
        clearTimeout(timer);
        child.off("message", onMessage);
        child.off("exit", onExit);
        then();
      };
      child.on("message", onMessage);
      child.on("exit", onExit);
      child.send(task);
    });
    if (answer === "timeout") {
      this.close();
    }
    return answer;
  }

  close(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
  }
}
