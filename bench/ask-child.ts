/** A Node process of a benchmark's own, which answers each request with one number. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export interface AskedChild<Request extends object> {
  /** One request at a time. */
  ask(request: Request): Promise<number>;
  close(): Promise<void>;
}

/** Forks a file of this folder. */
export function forkChild<Request extends object>(file: string): AskedChild<Request> {
  const child = fork(join(import.meta.dirname, file), { serialization: "advanced" });
  return {
    async ask(request) {
      const answered = once(child, "message");
      child.send(request);
      const [number] = await answered;
      return Number(number);
    },
    async close() {
      child.kill();
      await once(child, "exit");
    },
  };
}
