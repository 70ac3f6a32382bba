/**
 * A thread beside ClickHouse's, for some seconds: a start touches 200 MB of the library, of which the server goes on to use
 * a third. Linux keeps such pages mapped until it is short of memory; this gives them back once. They are clean pages of a
 * file, and stay in the kernel's cache: what is used again is mapped again, without a read from disk.
 */
import { readFileSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { DataType, load, open } from "ffi-rs";

/** After so long the server has started; on a busy machine what it still needs comes back. */
const startedMs = 3000;
/** MADV_DONTNEED of include/uapi/asm-generic/mman-common.h */
const dontNeed = 4;
const library = "this process";

/** The mappings of the file that are read only and in which nothing was ever written (relocated addresses were). */
function cleanMappings(file: string): { start: number; end: number }[] {
  return readFileSync("/proc/self/smaps", "utf8")
    .split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
    .flatMap((mapping) => {
      const [, start = "", end = "", rights = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(mapping) ?? [];
      const isClean = /\nPrivate_Dirty: +0 kB/.test(mapping) && /\nAnonymous: +0 kB/.test(mapping);
      const isOfFile = mapping.split("\n", 1)[0]?.endsWith(file) === true;
      return isOfFile && isClean && !rights.includes("w")
        ? [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }]
        : [];
    });
}

setTimeout(() => {
  open({ library, path: "" });
  for (const { start, end } of cleanMappings(String(workerData))) {
    load({
      library,
      funcName: "madvise",
      retType: DataType.I32,
      paramsType: [DataType.I64, DataType.I64, DataType.I32],
      paramsValue: [start, end - start, dontNeed],
    });
  }
}, startedMs);
