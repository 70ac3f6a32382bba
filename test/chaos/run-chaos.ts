/**
 * Chaos on the real parts: the Workers in workerd, a real ClickHouse engine, a network between them that breaks, and
 * processes that die. The protocol's durations are 30 times shorter. It promises that nothing is left running, and
 * reports what was sent, what broke, and how each payload ended.
 */

import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { claimPort } from "../../dev/free-port.ts";
import { limits } from "../../shared/limits.ts";
import {
  poisonAttribute,
  type SentPayload,
  sampledTenant,
  startClients,
  tableDays,
} from "./chaos-clients.ts";
import { type Addresses, type ChaosPipeline, startChaosPipeline } from "./chaos-pipeline.ts";
import { type ChaosProxy, type Delivered, startChaosProxy } from "./chaos-proxy.ts";
import {
  type BalanceRead,
  checkEnds,
  countRows,
  type Ends,
  readBalance,
  readWatermark,
} from "./check-ends.ts";
import { type Chooser, type Fault, faults, newChooser } from "./faults.ts";

export interface ChaosOptions {
  /** `COLLECT=off`. Otherwise payloads of concurrent requests share objects, and the collector dies with the Workers, whatever it has open. */
  readonly isAlone?: boolean;
  /** How long clients send and things break. */
  readonly chaosMs: number;
  /** How long ClickHouse is gone at an outage; nothing: a part of the run. */
  readonly outageMs?: number;
  /** How long the rest may take afterwards to be stored. */
  readonly settleMs: number;
  readonly seed: number;
  /**
   * Wait for the watermark to pass the last payload's minute, which takes that minute's end and the time after which a
   * minute is sealed (5 minutes, 10 s here). Otherwise it must have passed what could be sealed when all had ended.
   */
  readonly untilLastMinute: boolean;
  readonly onProgress: (line: string) => void;
}

export interface ChaosReport {
  readonly ends: Ends;
  readonly rows: number;
  readonly distinct: number;
  readonly tracesWithoutTimes: number;
  readonly balance: BalanceRead;
  readonly watermark: { readonly at: number; readonly wanted: number; readonly open: string };
  /** INSERTs that the proxy delivered late or again at the end. */
  readonly held: Delivered;
  readonly faults: ReadonlyMap<Fault, number>;
  /** Requests of clients that were not answered 200, and sent again. */
  readonly refusals: number;
  readonly seconds: { readonly chaos: number; readonly settle: number; readonly down: number };
  /** The Workers' warnings and errors, oldest first. */
  readonly logs: readonly string[];
}

const timesFaster = 30;
/** The cron's minute, but not shorter than its work takes on a busy machine: that does not get 30 times faster. */
const cronMs = Math.max(4000, 60_000 / timesFaster);
/** Together about four payloads per second: the local queues deliver one batch at a time. */
const clientsAtOnce = 3;
const clientPauseMs = 600;
const tricklePauseMs = 2000;
const trickleInFlightMost = 3;
/** The first change comes before the first death of the Workers, so that those which follow know another share. */
const firstSamplingMs = 1500;
const samplingMs = 15_000;
const settlePollMs = 1000;
const MINUTE_MS = 60_000;
/** Beyond the time after which a minute is sealed: a cron that is busy, a machine that is. */
const watermarkPatienceMs = 30_000;
const logsKept = 20_000;
/** One outage takes this part of the run, unless somebody wants it longer. */
const outageShare = 0.15;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-chaos-"));
  const world = new World(folder, options);
  // A run that is interrupted leaves no files; its processes end with this one.
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  try {
    await world.start();
    return await world.run();
  } finally {
    await world.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The processes of one run, which are killed and restarted. */
class World {
  readonly #options: ChaosOptions;
  readonly #folder: string;
  readonly #chooser: Chooser;
  readonly #counts = new Map<Fault, number>();
  readonly #logs: string[] = [];
  readonly #password = randomUUID();
  #server: ClickHouse | undefined;
  #proxy: ChaosProxy | undefined;
  #pipeline: ChaosPipeline | undefined;
  #sampled = { key: "", id: "" };
  #ports: { ingress: number; console: number } | undefined;
  #starts = 0;
  #downMs = 0;
  #stormy = false;

  constructor(folder: string, options: ChaosOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#chooser = newChooser(options.seed);
  }

  readonly #count = (fault: Fault): void => {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
  };

  async start(): Promise<void> {
    const server = await this.#startServer();
    this.#proxy = await startChaosProxy(server.url, this.#chooser.random.fraction);
    this.#proxy.choose = (isInsert) => {
      const fault = this.#stormy ? this.#chooser.ofRequest(isInsert) : undefined;
      if (fault !== undefined) {
        this.#count(fault);
      }
      return fault;
    };
    this.#ports = {
      ingress: await claimPort(0, "HEADRACE_PORT"),
      console: await claimPort(0, "HEADRACE_CONSOLE_PORT"),
    };
    await this.#startPipeline();
    this.#sampled = v.parse(
      v.object({ key: v.string(), id: v.string() }),
      await this.#askConsole("POST", "keys", { tenant: sampledTenant, name: "chaos" }),
    );
    await this.#ask(`ALTER TABLE otel_traces MODIFY TTL toDateTime(Timestamp) + toIntervalDay(${tableDays})`);
    await this.#ask(
      `ALTER TABLE otel_traces ADD CONSTRAINT no_poison CHECK ResourceAttributes['${poisonAttribute}'] = ''`,
    );
  }

  /** Where the pipeline is; undefined: it is down. */
  #addresses(): Addresses | undefined {
    return this.#pipeline === undefined
      ? undefined
      : { ...this.#pipeline.addresses, sampledKey: this.#sampled.key };
  }

  async #askConsole(method: "POST" | "PATCH", path: string, body: object): Promise<unknown> {
    const { console: url, adminToken } = this.#upPipeline().addresses;
    const response = await fetch(`${url}/api/${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) {
      throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
    }
    return await response.json();
  }

  /** Half of the traces, all of them, half … An isolate knows it at the latest 30 s later, a new one at once. */
  async #changeSampling(until: number): Promise<void> {
    for (let share = 0.5; Date.now() < until; share = 1.5 - share) {
      try {
        await this.#askConsole("PATCH", `keys/${this.#sampled.id}`, { sample: share });
        this.#count("sampling_changed");
      } catch {
        // the Workers are dead just now
      }
      await sleep(Math.min(samplingMs, Math.max(0, until - Date.now())));
    }
  }

  async run(): Promise<ChaosReport> {
    const { chaosMs, settleMs, onProgress } = this.#options;
    const began = Date.now();
    const stormEnds = began + chaosMs;
    // On a busy machine the kills that every run has take longer than the run: clients send beside all of them.
    let isOver = false;
    const clients = startClients({
      random: this.#chooser.random,
      clients: clientsAtOnce,
      pauseMs: clientPauseMs,
      special: true,
      addresses: () => this.#addresses(),
      goOn: () => !isOver,
      giveUpAt: stormEnds + settleMs,
      onFault: this.#count,
    });
    this.#stormy = true;
    await sleep(firstSamplingMs);
    await Promise.all([this.#storm(stormEnds), this.#changeSampling(stormEnds)]);
    this.#stormy = false;
    isOver = true;
    this.#pipeline?.calm();
    await clients.ended;
    const settleBegan = Date.now();
    onProgress(`${clients.payloads.length} payloads sent; waiting for what is in flight`);
    const [balance, others] = await this.#settle(
      settleBegan + settleMs,
      clients.payloads.filter(({ accepted, kind }) => accepted && kind === "poison").length,
    );
    const settled = Date.now();
    // What was held comes now, when everything has been stored: the worst moment.
    const held = (await this.#proxy?.deliverHeld()) ?? { delivered: 0, late: 0 };
    const url = this.#serverUrl();
    const payloads = [...clients.payloads, ...others];
    const watermark = await this.#awaitWatermark(payloads, settled);
    return {
      ends: await checkEnds(url, payloads),
      ...(await countRows(url)),
      balance,
      watermark,
      held,
      faults: this.#counts,
      refusals: clients.refusals(),
      seconds: {
        chaos: (settleBegan - began) / 1000,
        settle: (settled - settleBegan) / 1000,
        down: this.#downMs / 1000,
      },
      logs: this.#logs,
    };
  }

  async stop(): Promise<void> {
    await this.#pipeline?.kill();
    await this.#proxy?.stop();
    await this.#server?.stop();
  }

  /** Kills and outages, one after the other with pauses, until `until`. The proxy's faults go on all the time. */
  async #storm(until: number): Promise<void> {
    const { random } = this.#chooser;
    const { chaosMs, outageMs = chaosMs * outageShare, onProgress } = this.#options;
    // The first three come in every run, however slow the machine is.
    const round = ["workers_killed", "engine_killed", "outage", "engine_killed"] as const;
    for (let next = 0; next < 3 || Date.now() < until; next++) {
      await sleep(random.integer(1500, 4000));
      const fault = round[next % round.length];
      if ((next >= 3 && Date.now() >= until) || fault === undefined) {
        return;
      }
      this.#count(fault);
      const began = Date.now();
      switch (fault) {
        case "workers_killed":
          await this.#killPipeline();
          break;
        case "engine_killed":
          await this.#killServer(0);
          break;
        case "outage":
          await this.#killServer(outageMs);
          break;
      }
      onProgress(`${fault}, up again after ${((Date.now() - began) / 1000).toFixed(1)} s`);
    }
  }

  async #killPipeline(): Promise<void> {
    await this.#untilInsertIsOut();
    const pipeline = this.#pipeline;
    const wasStormy = this.#stormy;
    this.#pipeline = undefined;
    await pipeline?.kill();
    // A start asks ClickHouse for the schema and for what nobody holds; a failing one would only be started again.
    this.#stormy = false;
    await this.#startPipeline();
    this.#stormy = wasStormy;
  }

  async #killServer(outageMs: number): Promise<void> {
    await this.#untilInsertIsOut();
    const began = Date.now();
    const server = this.#server;
    server?.kill();
    await server?.exited;
    await sleep(outageMs);
    await this.#startServer(server?.port);
    this.#downMs += Date.now() - began;
  }

  async #untilInsertIsOut(): Promise<void> {
    const patience = Date.now() + 2000;
    while (this.#proxy?.insertsOut() === 0 && Date.now() < patience) {
      await sleep(1);
    }
  }

  /**
   * Traffic goes on until every poison payload is dead: a payload is dead-lettered only while others are stored
   * between its refusals. Then the last of the traffic is waited for.
   */
  async #settle(until: number, poison: number): Promise<[BalanceRead, readonly SentPayload[]]> {
    const pipeline = this.#upPipeline();
    let isQuiet = false;
    const trickle = startClients({
      random: this.#chooser.random,
      clients: 1,
      pauseMs: tricklePauseMs,
      special: false,
      addresses: () => this.#addresses(),
      goOn: () => !isQuiet && Date.now() < until,
      giveUpAt: until,
      onFault: () => undefined,
    });
    let balance = await readBalance(pipeline.addresses);
    while (Date.now() < until) {
      const isOver = balance.missing.length === 0 && balance.inFlight === 0;
      if (isQuiet && isOver) {
        break;
      }
      // A payload or two of the trickle is always on its way.
      isQuiet ||= balance.dead >= poison && balance.missing.length + balance.inFlight <= trickleInFlightMost;
      await sleep(settlePollMs);
      balance = await readBalance(pipeline.addresses);
    }
    isQuiet = true;
    await trickle.ended;
    return [balance, trickle.payloads];
  }

  async #awaitWatermark(
    payloads: readonly SentPayload[],
    settled: number,
  ): Promise<ChaosReport["watermark"]> {
    const pipeline = this.#upPipeline();
    const last = Math.max(...payloads.map(({ acceptedAt }) => acceptedAt));
    const wanted = this.#options.untilLastMinute
      ? minuteOf(last) + MINUTE_MS
      : minuteOf(settled - limits.reconcileAgeMs / timesFaster);
    const until = Math.max(settled, wanted + limits.reconcileAgeMs / timesFaster) + watermarkPatienceMs;
    let watermark = await readWatermark(pipeline.addresses);
    while (watermark.at < wanted && Date.now() < until) {
      await sleep(settlePollMs);
      watermark = await readWatermark(pipeline.addresses);
    }
    return { ...watermark, wanted };
  }

  #upPipeline(): ChaosPipeline {
    if (this.#pipeline === undefined) {
      throw new Error("the pipeline is up when the storm is over");
    }
    return this.#pipeline;
  }

  async #startServer(port?: number): Promise<ClickHouse> {
    this.#server = await startClickHouse({
      directory: join(this.#folder, "server"),
      ...(port === undefined ? {} : { port }),
      password: this.#password,
    });
    return this.#server;
  }

  async #startPipeline(): Promise<void> {
    const { seed, isAlone = false } = this.#options;
    const [proxy, ports] = [this.#proxy, this.#ports];
    if (proxy === undefined || ports === undefined) {
      throw new Error("the pipeline is started after its proxy");
    }
    this.#pipeline = await startChaosPipeline({
      settings: {
        port: ports.ingress,
        consolePort: ports.console,
        clickHousePort: 0,
        stateFolder: join(this.#folder, "state"),
        clickHouseUrl: proxy.url,
        ledgerTimesFaster: String(timesFaster),
        ...(isAlone ? { collect: { COLLECT: "off" } } : {}),
      },
      seed: seed + ++this.#starts,
      cronMs,
      onFault: this.#count,
      onLog: (line) => {
        this.#logs.push(line);
        this.#logs.splice(0, this.#logs.length - logsKept);
      },
    });
  }

  #serverUrl(): string {
    if (this.#server === undefined) {
      throw new Error("the server has been started");
    }
    return this.#server.url;
  }

  async #ask(sql: string): Promise<void> {
    const response = await fetchClickHouse(this.#serverUrl(), { method: "POST", body: sql });
    if (!response.ok) {
      throw new Error(await response.text());
    }
  }
}

function minuteOf(ms: number): number {
  return ms - (ms % MINUTE_MS);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What is wrong with a run, in sentences; empty: every payload that was answered 200 is stored once or dead. */
export function wrongOf(report: ChaosReport): readonly string[] {
  const { ends, rows, distinct, tracesWithoutTimes, balance, watermark } = report;
  return [
    ...ends.wrong,
    ...(rows === distinct ? [] : [`${rows} rows and ${distinct} distinct (payload, span)`]),
    ...(tracesWithoutTimes === 0
      ? []
      : [`${tracesWithoutTimes} traces have no times in otel_traces_trace_id_ts`]),
    ...(balance.balanced && balance.missing.length === 0
      ? []
      : [`the balance misses ${balance.missing.join(", ")}`]),
    ...(watermark.at >= watermark.wanted
      ? []
      : [
          `the watermark is ${new Date(watermark.at).toISOString()} and should be ${new Date(watermark.wanted).toISOString()}; open: ${watermark.open}`,
        ]),
    ...(balance.inFlight === 0 ? [] : [`${balance.inFlight} payloads are still in flight`]),
  ];
}

/** The figures of a run for people. */
export function describeRun(report: ChaosReport): string {
  const { ends, seconds, balance, refusals } = report;
  const counted = Object.entries(faults).map(([fault, meaning]) => {
    const times = [...report.faults].find(([name]) => name === fault)?.[1] ?? 0;
    return `  ${String(times).padStart(6)}  ${fault.padEnd(16)} ${meaning}`;
  });
  return [
    `${seconds.chaos.toFixed(0)} s of chaos, ${seconds.settle.toFixed(0)} s until all was settled; ClickHouse was down for ${seconds.down.toFixed(0)} s.`,
    `The protocol's durations are ${timesFaster} times shorter: ${seconds.chaos.toFixed(0)} s stand for ${((seconds.chaos * timesFaster) / 60).toFixed(0)} minutes.`,
    `Payloads answered 200: ${ends.accepted}; requests that had to be sent again: ${refusals}.`,
    `Stored ${ends.stored} (${ends.spans} spans), dead ${ends.dead}, expired ${ends.expired}, refused as too old ${ends.refused}, stored without an answer ${ends.storedUnanswered}.`,
    `Balance: accepted ${balance.accepted}, stored ${balance.stored}, dead ${balance.dead}, duplicate ${balance.duplicate}, in flight ${balance.inFlight}, missing ${balance.missing.length}.`,
    `Watermark: ${new Date(report.watermark.at).toISOString()}, at least ${new Date(report.watermark.wanted).toISOString()} was due.`,
    `INSERTs delivered at the end, late or again: ${report.held.delivered}, of which ClickHouse refused ${report.held.late} for their deadline.`,
    "Faults:",
    ...counted,
    `Lost ${ends.lost}, doubled ${ends.doubled}.`,
  ].join("\n");
}
