/**
 * The services that the demo's traces run through: their resources, as an SDK's detectors would fill them, and the
 * role each plays in a trace. Pure: the same count and seed give the same fleet.
 */
import type { Attributes } from "@opentelemetry/api";
import type { SeededRandom } from "./seeded-random.ts";

export type Language = "nodejs" | "java" | "python" | "go";

export interface Service {
  readonly name: string;
  readonly language: Language;
  /** Host name that other services call it by. */
  readonly address: string;
  /** Resource attributes; only scalars and arrays of one scalar type, as the resource model allows. */
  readonly resource: Attributes;
}

const names: readonly { readonly name: string; readonly language: Language }[] = [
  { name: "storefront", language: "nodejs" },
  { name: "catalog", language: "java" },
  { name: "orders", language: "go" },
  { name: "payments", language: "java" },
  { name: "mailer", language: "python" },
  { name: "search", language: "python" },
  { name: "shipping", language: "go" },
  { name: "recommendations", language: "nodejs" },
];

const runtimes: Readonly<Record<Language, { readonly name: string; readonly version: string }>> = {
  nodejs: { name: "nodejs", version: "24.21.0" },
  java: { name: "OpenJDK Runtime Environment", version: "25.0.1+9" },
  python: { name: "cpython", version: "3.14.2" },
  go: { name: "go", version: "go1.26.8" },
};

const commands: Readonly<Record<Language, readonly string[]>> = {
  nodejs: ["node", "--enable-source-maps", "server.js"],
  java: ["java", "-Xmx512m", "-jar", "app.jar"],
  python: ["python", "-m", "app"],
  go: ["app", "--listen", ":8080"],
};

const regions = ["eu-central-1", "us-east-1", "ap-northeast-1"] as const;

/** `count` services, at least one. Past the list of names they are numbered: `catalog-2`. */
export function makeFleet(count: number, random: SeededRandom): Service[] {
  return Array.from({ length: count }, (_, index) => {
    const base = names[index % names.length] ?? { name: "service", language: "nodejs" };
    const round = Math.floor(index / names.length) + 1;
    const name = round === 1 ? base.name : `${base.name}-${round}`;
    return {
      name,
      language: base.language,
      address: `${name}.shop.svc.cluster.local`,
      resource: makeResource(name, base.language, random),
    };
  });
}

function makeResource(name: string, language: Language, random: SeededRandom): Attributes {
  const pod = `${name}-${hex(random, 10)}-${hex(random, 5)}`;
  const region = random.pick(regions);
  return {
    "service.name": name,
    "service.namespace": "shop",
    "service.version": `${random.integer(1, 4)}.${random.integer(0, 20)}.${random.integer(0, 9)}`,
    "service.instance.id": `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-8${hex(random, 3)}-${hex(random, 12)}`,
    "deployment.environment.name": "demo",
    "telemetry.sdk.language": language,
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "3.1.1",
    "process.pid": random.integer(1, 40_000),
    "process.command_args": [...commands[language]],
    "process.runtime.name": runtimes[language].name,
    "process.runtime.version": runtimes[language].version,
    "host.name": pod,
    "host.arch": random.pick(["amd64", "arm64"]),
    "os.type": "linux",
    "container.id": hex(random, 64),
    "k8s.pod.name": pod,
    "k8s.container.restart_count": random.integer(0, 3),
    "cloud.provider": "aws",
    "cloud.region": region,
    "cloud.availability_zone": `${region}${random.pick(["a", "b", "c"])}`,
  };
}

/** Lower-case hex digits: for names that look random and follow the seed. Never for trace or span ids. */
export function hex(random: SeededRandom, digits: number): string {
  let text = "";
  for (let i = 0; i < digits; i++) {
    text += random.integer(0, 15).toString(16);
  }
  return text;
}
