/**
 * A terminal's lines, each thing said once: the first of its kind at once, the others of its kind as a count, after a wait
 * that grows as long as they come. A client that exports every five seconds what is refused is a line a minute and then one
 * every ten, and no screenful.
 */

export interface RepeatedLine {
  /** Lines of one key say the same. */
  readonly key: string;
  /** How often it happened. */
  readonly times: number;
  readonly first: string;
  /** What is said when it happened again; `all`: how often since the first. */
  again(all: number): string;
}

export interface CollapseTimes {
  /** From the first line of a kind to its first count. */
  readonly firstWaitMs: number;
  readonly waitMsMax: number;
}

const collapseTimes: CollapseTimes = { firstWaitMs: 10_000, waitMsMax: 600_000 };

/** Kinds that are counted at a time. Further ones are one kind: a flood of lines that all differ is a few lines too. */
export const kindsMax = 100;

const others: Omit<RepeatedLine, "times"> = {
  key: "",
  first: "… and other lines, each different: they are counted only",
  again: (all) => `… ${all} other lines`,
};

interface Kind {
  line: Omit<RepeatedLine, "times">;
  all: number;
  /** Of `all`, what has been said. */
  said: number;
  waitMs: number;
  timer: NodeJS.Timeout;
}

export function collapseLines(
  print: (text: string) => void,
  { firstWaitMs, waitMsMax }: CollapseTimes = collapseTimes,
): { add(line: RepeatedLine): void; stop(): void } {
  const kinds = new Map<string, Kind>();

  function wait(key: string, ms: number): NodeJS.Timeout {
    return setTimeout(() => end(key), ms).unref();
  }

  function end(key: string): void {
    const kind = kinds.get(key);
    if (kind === undefined) {
      return;
    }
    if (kind.all === kind.said) {
      kinds.delete(key); // it has stopped: the next one is a first one
      return;
    }
    print(kind.line.again(kind.all));
    kind.said = kind.all;
    kind.waitMs = Math.min(3 * kind.waitMs, waitMsMax);
    kind.timer = wait(key, kind.waitMs);
  }

  return {
    add({ times, ...given }) {
      const line = kinds.has(given.key) || kinds.size < kindsMax ? given : others;
      const known = kinds.get(line.key);
      if (known !== undefined) {
        known.all += times;
        return;
      }
      print(line.first);
      const timer = wait(line.key, firstWaitMs);
      kinds.set(line.key, { line, all: times, said: 1, waitMs: firstWaitMs, timer });
    },
    stop() {
      for (const { timer } of kinds.values()) {
        clearTimeout(timer);
      }
      kinds.clear();
    },
  };
}
