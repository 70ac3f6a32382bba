/** What the runner knows of a client: how it is made ready, and how it sends spans once. */

type Compression = "gzip" | "none" | "zstd" | "deflate";

export interface Variant {
  readonly encoding: "protobuf" | "json";
  readonly compression: Compression;
}

export interface Sending extends Variant {
  /** Base URL: clients append `/v1/traces`. */
  readonly endpoint: string;
  readonly key: string;
  /** The resource attribute `test.run` of every span. */
  readonly run: string;
  readonly spans: number;
  /** Whether a request was answered 200 by now: for a client that cannot tell, and must not be stopped before. */
  readonly delivered: () => boolean;
}

export interface Client {
  readonly name: string;
  /** Of what sends, and of what it runs on. */
  readonly version: string;
  /** What it can send; the faults are tried with the first. */
  readonly variants: readonly [Variant, ...Variant[]];
  /** False for a client that never retries after a refusal: what was refused is lost, and that is what is checked. */
  readonly triesAgain?: false;
  /** Sends the spans in one request and resolves when the client has done with it. Rejects with what the client says. */
  send(sending: Sending): Promise<void>;
}

/** A client by its name. `prepare` throws `Skipped` where the machine cannot have it. */
export interface ClientMaker {
  readonly name: string;
  prepare(): Client | Promise<Client>;
}
