/**
 * Writes to standard output or error without ever waiting for the reader: a pager that is not scrolled, a terminal
 * stopped by Ctrl-S, `| head`. What is not read is kept up to a bound; beyond it lines are left out, and counted.
 * (`console.log` blocks the thread on a terminal, and keeps everything on a pipe.)
 */
import { constants, openSync, write } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";

export interface Terminal {
  write(text: string): void;
  /** Resolves when everything is written, at the latest after `ms`. */
  flush(ms: number): Promise<void>;
}

/** About a thousand lines. */
export const keptCharsMax = 100_000;
const againMs = 50;

/** `fd`: 1 or 2. */
export function openTerminal(fd: 1 | 2): Terminal {
  return bufferedWriter(nonBlocking(fd));
}

/** A write to it fails with EAGAIN where it would have to wait. */
function nonBlocking(fd: 1 | 2): number {
  if (isatty(fd)) {
    try {
      // An open file of its own: the flag of the one that the shell gave us is the shell's too.
      return openSync("/dev/tty", constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      return fd; // no controlling terminal
    }
  }
  // Node makes a pipe non-blocking when it first looks at it. It stays so as long as no child inherits it.
  void (fd === 1 ? process.stdout : process.stderr);
  return fd;
}

function bufferedWriter(fd: number): Terminal {
  let kept: string[] = [];
  let keptChars = 0;
  let leftOut = 0;
  let isWriting = false;
  let isGone = false;
  let wakeFlush: () => void = () => undefined;

  function next(): void {
    if (leftOut > 0 && keptChars < keptCharsMax / 2) {
      keep(`… ${leftOut} lines were left out: nobody read them in time\n`);
      leftOut = 0;
    }
    if (kept.length === 0) {
      isWriting = false;
      wakeFlush();
      return;
    }
    isWriting = true;
    const bytes = Buffer.from(kept.join(""));
    kept = [];
    keptChars = 0;
    send(bytes);
  }

  function keep(text: string): void {
    kept.push(text);
    keptChars += text.length;
  }

  function send(bytes: Buffer): void {
    write(fd, bytes, (error, written) => {
      if (error?.code === "EAGAIN") {
        setTimeout(() => send(bytes), againMs);
      } else if (error !== null) {
        isGone = true; // EPIPE: nobody will ever read it
        kept = [];
        leftOut = 0;
        next();
      } else if (written < bytes.length) {
        send(bytes.subarray(written));
      } else {
        next();
      }
    });
  }

  return {
    write(text) {
      if (isGone) {
        return;
      }
      if (keptChars + text.length > keptCharsMax) {
        leftOut += 1;
      } else {
        keep(text);
      }
      if (!isWriting) {
        next();
      }
    },
    async flush(ms) {
      if (isWriting) {
        await new Promise<void>((resolve) => {
          wakeFlush = resolve;
          setTimeout(resolve, ms);
        });
      }
    },
  };
}
