/**
 * Ends what an orphaned pipeline left running. workerd outlives a parent that was killed with SIGKILL; so the parent
 * starts this shell beside it (a Node would hold 66 MB), and when the parent is gone (the shell's stdin closes), every
 * workerd of the same process group whose parent is outside the group is ended: an orphan was handed to init or to a
 * subreaper.
 */
import { spawn } from "node:child_process";

/** A Ctrl-C reaches the whole group: the parent stops in order, and closes our stdin when it is done. */
const script = `
trap '' INT TERM HUP
while read -r _; do :; done
ps -A -o pid=,ppid=,pgid=,comm= | awk -v own=$$ '
  { parent[$1] = $2; group[$1] = $3; command[$1] = $4 }
  END {
    for (pid in command)
      if (group[pid] == group[own] && command[pid] ~ /workerd$/ && group[parent[pid]] != group[own]) print pid
  }
' | while read -r pid; do kill -KILL "$pid"; done
`;

/** Starts the guardian beside the calling process. It ends when the caller does, or when `stop` is called. */
export function startGuardian(): { stop(): void } {
  // It inherits neither output: libuv would make a shared one block again (terminal.ts).
  const child = spawn("sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"] });
  child.unref();
  return { stop: () => child.kill("SIGKILL") };
}
