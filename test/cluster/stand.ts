/**
 * Replicas of ClickHouse with a ZooKeeper on this machine: `replica.c` makes a server with replication out of the libchdb.so that
 * `npm install` brings, Debian's package `zookeeper` is the other half. Each can be killed, started again, or stopped where it
 * is. All of it listens on 127.0.0.0/8 alone, lives in a folder of its own and ends with the process that started it.
 *
 * It is no clickhouse-server: `serverUUID()` is zero at each, and ON CLUSTER is refused (392).
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { type ServerUser, withMoreUsers } from "../../dev/clickhouse/more-users.ts";
import { libraryPath } from "../../dev/clickhouse/start-clickhouse.ts";

export interface Replica {
  readonly name: string;
  readonly url: string;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** After `kill`: with its data; resolves when it answers. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
}

export interface Stand {
  readonly replicas: readonly [Replica, Replica];
  /** The name of both in `system.clusters`. */
  readonly cluster: string;
  readonly zooKeeper: { pause(): void; resume(): void };
  stop(): Promise<void>;
}

const zooKeeperJar = "/usr/share/java/zookeeper.jar";

/** Why there can be no stand on this machine; empty: there can. */
export function whyNoStand(): string {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `replicas are started on Linux x64 only, and this is ${process.platform} ${process.arch}`;
  }
  const has = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
  const missing = [
    ...(has("gcc", "--version") ? [] : ["gcc libc6-dev"]),
    ...(has("java", "-version") ? [] : ["openjdk-17-jre-headless"]),
    ...(existsSync(zooKeeperJar) ? [] : ["zookeeper"]),
    ...(has("setpriv", "--version") ? [] : ["util-linux"]),
  ];
  if (missing.length > 0) {
    return `missing here: apt-get install ${missing.join(" ")}`;
  }
  const folder = mkdtempSync(join(tmpdir(), "headrace-replica-"));
  try {
    const { status, stderr } = spawnSync(build(folder), [libraryPath()], { encoding: "utf8" });
    return status === 0 ? "" : stderr.trim();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Compiles `replica.c` into the folder. */
function build(folder: string): string {
  const path = join(folder, "replica");
  const source = join(import.meta.dirname, "replica.c");
  const { status, stderr } = spawnSync("gcc", ["-O1", "-Wall", "-Wextra", "-o", path, source, "-ldl"], {
    encoding: "utf8",
  });
  if (status !== 0) {
    throw new Error(`replica.c cannot be compiled:\n${stderr}`);
  }
  return path;
}

/** A process that dies with the one that starts it, however that ends. */
function startProcess(log: string, command: readonly string[]): ChildProcess {
  const output = openSync(log, "a");
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...command], { stdio: ["ignore", output, output] });
  closeSync(output);
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    await new Promise((resolve) => child.once("exit", resolve));
  }
}

const startMs = 60_000;

async function until(child: ChildProcess, log: string, answers: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + startMs;
  while (!(await answers().catch(() => false))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > end) {
      const lines = readFileSync(log, "utf8").trim().split("\n").slice(-15);
      throw new Error(`a part of the stand does not start:\n${lines.join("\n")}`);
    }
    await wait(50);
  }
}

const clientHost = "127.0.0.1";
const interserverHost = "127.0.0.2";
const cluster = "stand";
const names = ["r1", "r2"] as const;

interface Ports {
  readonly zooKeeper: number;
  readonly http: readonly number[];
  readonly native: readonly number[];
}

/** `users`: beside `default`, at both. */
export async function startStand(users: readonly ServerUser[] = []): Promise<Stand> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-stand-"));
  const binary = build(folder);
  const [zooKeeper = 0, ...others] = await freePorts(1 + 2 * names.length);
  const ports: Ports = { zooKeeper, http: others.slice(0, names.length), native: others.slice(names.length) };
  const zooKeeperProcess = await startZooKeeper(folder, zooKeeper);
  const usersFile = join(folder, "users.xml");
  writeFileSync(usersFile, withMoreUsers(usersXml, users));
  const servers = names.map((name, i) => new Server(folder, binary, name, i, ports, usersFile));
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.kill()));
    zooKeeperProcess.kill("SIGKILL");
    await ended(zooKeeperProcess);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(servers.map((server) => server.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const [r1, r2] = servers;
  if (r1 === undefined || r2 === undefined) {
    throw new Error("a stand has two replicas");
  }
  return {
    replicas: [r1, r2],
    cluster,
    zooKeeper: {
      pause: () => zooKeeperProcess.kill("SIGSTOP"),
      resume: () => zooKeeperProcess.kill("SIGCONT"),
    },
    stop,
  };
}

/** Ports that are free at both hosts. */
async function freePorts(count: number): Promise<readonly number[]> {
  const listening = await Promise.all(
    Array.from(
      { length: count },
      async () =>
        await new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer().once("error", reject);
          server.listen(0, "0.0.0.0", () => resolve(server));
        }),
    ),
  );
  const ports = listening.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(listening.map(async (server) => await new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function startZooKeeper(folder: string, port: number): Promise<ChildProcess> {
  const data = join(folder, "zookeeper");
  mkdirSync(data);
  const config = join(data, "zoo.cfg");
  writeFileSync(
    config,
    `tickTime=500
dataDir=${data}/data
clientPort=${port}
clientPortAddress=${clientHost}
admin.enableServer=false
4lw.commands.whitelist=srvr
minSessionTimeout=1000
maxSessionTimeout=60000
maxClientCnxns=0
`,
  );
  const log = join(data, "log");
  const child = startProcess(log, [
    ..."java -Xmx256m -Dzookeeper.jmx.log4j.disable=true -cp".split(" "),
    zooKeeperJar,
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    config,
  ]);
  // `srvr` answers when connections are served; `ruok` does before.
  await until(child, log, async () => {
    const { stdout } = spawnSync(
      "bash",
      ["-c", `exec 3<>/dev/tcp/${clientHost}/${port}; printf srvr >&3; timeout 2 cat <&3`],
      {
        encoding: "utf8",
      },
    );
    return stdout.includes("Mode: standalone");
  });
  return child;
}

const usersXml = `<clickhouse>
  <profiles><default></default></profiles>
  <quotas><default></default></quotas>
  <users><default><password></password><networks><ip>127.0.0.0/8</ip></networks><profile>default</profile><quota>default</quota></default></users>
</clickhouse>
`;

class Server implements Replica {
  readonly name: string;
  readonly url: string;
  readonly #folder: string;
  readonly #command: readonly string[];
  #process: ChildProcess | null = null;

  constructor(folder: string, binary: string, name: string, at: number, ports: Ports, usersFile: string) {
    const port = ports.http[at] ?? 0;
    this.name = name;
    this.url = `http://${clientHost}:${port}`;
    this.#folder = folder;
    const config = join(folder, `${name}.xml`);
    writeFileSync(config, serverConfig(join(folder, name), name, at, ports, usersFile));
    // The listeners last as long as the statement that holds them open: 100,000 s.
    const query = `SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT sleepEachRow(1) FROM numbers(100000)
      SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0, max_execution_time = 0 FORMAT Null`;
    this.#command = [
      binary,
      libraryPath(),
      interserverHost,
      String(port),
      "--config-file",
      config,
      "--query",
      query,
    ];
  }

  async start(): Promise<void> {
    const log = join(this.#folder, `${this.name}.log`);
    this.#process = startProcess(log, this.#command);
    await until(this.#process, log, async () => (await (await fetch(`${this.url}/ping`)).text()) === "Ok.\n");
  }

  async kill(): Promise<void> {
    const child = this.#process;
    child?.kill("SIGKILL");
    await (child && ended(child));
    this.#process = null;
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }
}

/** A `sessions_path` of its own: server UUIDs are zero here, and replicas under one path end each other's ZooKeeper session. */
function serverConfig(
  path: string,
  name: string,
  at: number,
  { zooKeeper, http, native }: Ports,
  usersFile: string,
): string {
  const members = native
    .map((port) => `<replica><host>${clientHost}</host><port>${port}</port></replica>`)
    .join("");
  return `<clickhouse>
  <path>${path}/</path>
  <users_config>${usersFile}</users_config>
  <logger><level>information</level><console>1</console></logger>
  <http_port>${http[at]}</http_port>
  <tcp_port>${native[at]}</tcp_port>
  <timezone>UTC</timezone>
  <listen_host>${clientHost}</listen_host>
  <listen_host>${interserverHost}</listen_host>
  <zookeeper>
    <node><host>${clientHost}</host><port>${zooKeeper}</port></node>
    <session_timeout_ms>10000</session_timeout_ms>
    <sessions_path>/clickhouse/sessions_${name}</sessions_path>
  </zookeeper>
  <macros><shard>01</shard><replica>${name}</replica></macros>
  <remote_servers><${cluster}><shard><internal_replication>true</internal_replication>${members}</shard></${cluster}></remote_servers>
</clickhouse>
`;
}
