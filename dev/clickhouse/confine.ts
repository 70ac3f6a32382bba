/**
 * Landlock: from its call on, the thread that makes it and the threads that come of it open no file but those named here.
 * clickhouse-local asks for no right before `SELECT file('/path')` and `INSERT … FROM INFILE '/path'`, so the server's
 * process is kept from the machine's files by the kernel: Linux 5.19 and later, where Landlock is switched on. Elsewhere
 * nothing is confined. (docs.kernel.org/userspace-api/landlock.html)
 */
import { closeSync, fstatSync, openSync } from "node:fs";
import { DataType, load } from "ffi-rs";

/** The same on x64 and arm64. */
const createRulesetCall = 444;
const addRuleCall = 445;
const restrictSelfCall = 446;
const noNewPrivileges = 38;

/** Of include/uapi/linux/landlock.h. */
const executeRight = 1 << 0;
const writeFileRight = 1 << 1;
const readFileRight = 1 << 2;
const readFolderRight = 1 << 3;
/** EXECUTE to REFER, which is the second version's: without it nothing can be renamed from folder to folder. */
const allRights = (1 << 14) - 1;
const versionLeast = 2;
const pathBeneath = 1;
const versionFlag = 1;

/** What ClickHouse reads of a Linux machine: its software, the time zone, names of hosts, and figures about both. */
const readable = [
  "/usr",
  "/lib",
  "/lib64",
  "/sys",
  "/proc/sys",
  ...["meminfo", "cpuinfo", "stat", "loadavg", "uptime"].map((name) => `/proc/${name}`),
  // Not environ, nor other processes.
  ...["cgroup", "io", "limits", "maps", "mountinfo", "mounts", "stat", "statm", "status"].map(
    (name) => `/proc/self/${name}`,
  ),
  "/etc/localtime",
  "/etc/hosts",
  "/etc/resolv.conf",
  "/etc/nsswitch.conf",
];
const devices = ["/dev/null", "/dev/urandom", "/dev/random"];

interface Confinement {
  /** A library that ffi-rs has opened, with the C library's functions in it. */
  readonly library: string;
  /** Everything may be done in them. */
  readonly folders: readonly string[];
  /** These may be read, folders with what is in them. */
  readonly readable: readonly string[];
}

function systemCall(library: string, number: number, ...values: readonly (number | Buffer)[]): number {
  const types = values.map((value) => (typeof value === "number" ? DataType.I64 : DataType.U8Array));
  return load({
    library,
    funcName: "syscall",
    retType: DataType.I64,
    paramsType: [DataType.I64, ...types],
    paramsValue: [number, ...values],
  });
}

/** Whether the kernel has a Landlock that will do. */
export function canConfine(library: string): boolean {
  return (
    process.platform === "linux" && systemCall(library, createRulesetCall, 0, 0, versionFlag) >= versionLeast
  );
}

/** Does nothing where `canConfine` is false. Throws when the kernel refuses what it should know. */
export function confine(confinement: Confinement): void {
  const { library } = confinement;
  if (!canConfine(library)) {
    return;
  }
  const call = (number: number, ...values: readonly (number | Buffer)[]) =>
    systemCall(library, number, ...values);
  const handled = Buffer.alloc(8);
  handled.writeUInt32LE(allRights);
  const ruleset = call(createRulesetCall, handled, handled.length, 0);
  demand(ruleset >= 0, "a ruleset");

  function allow(path: string, rights: number): void {
    let file: number;
    try {
      file = openSync(path, "r");
    } catch {
      return; // absent, or not for this user anyway
    }
    const rule = Buffer.alloc(12);
    rule.writeUInt32LE(fstatSync(file).isDirectory() ? rights : rights & (readFileRight | writeFileRight));
    rule.writeInt32LE(file, 8);
    demand(call(addRuleCall, ruleset, pathBeneath, rule, 0) === 0, `a rule for ${path}`);
    closeSync(file);
  }
  for (const path of confinement.folders) {
    allow(path, allRights & ~executeRight);
  }
  for (const path of [...readable, ...confinement.readable]) {
    allow(path, readFileRight | readFolderRight);
  }
  for (const path of devices) {
    allow(path, readFileRight | writeFileRight);
  }
  const promised = load({
    library,
    funcName: "prctl",
    retType: DataType.I32,
    paramsType: [DataType.I32, DataType.I64, DataType.I64, DataType.I64, DataType.I64],
    paramsValue: [noNewPrivileges, 1, 0, 0, 0],
  });
  demand(promised === 0, "to give up new privileges");
  demand(call(restrictSelfCall, ruleset, 0) === 0, "to confine the process");
}

function demand(granted: boolean, what: string): void {
  if (!granted) {
    throw new Error(`Landlock, which the kernel has, refused ${what}`);
  }
}
