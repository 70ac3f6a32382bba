/**
 * The OpenAPI 3.1 document of the console's API, made of its contract (shared/console/routes.ts). It is written beside
 * the page (build-page.ts) and served from there: no Worker carries it, or the library that makes it.
 */
import {
  type ConversionConfig,
  type JsonSchema,
  toJsonSchema,
  toJsonSchemaDefs,
} from "@valibot/to-json-schema";
import type * as v from "valibot";
import * as answers from "../shared/console/answers.ts";
import { plainRouteNames, plainRoutes, type Route, routeNames, routes } from "../shared/console/routes.ts";
import * as traces from "../shared/console/traces.ts";

export interface OpenApi {
  readonly openapi: string;
  readonly info: object;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly securitySchemes: object;
  };
}

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly object[];
  readonly requestBody?: object;
  readonly security: readonly object[];
  readonly responses: Readonly<Record<string, object>>;
}

/** `version`: that of package.json. */
export function openApi(version: string): OpenApi {
  const paths: Record<string, Record<string, Operation>> = {};
  const add = (name: string, operation: Operation): void => {
    const [method = "", path = ""] = name.split(" ");
    const place = path.replace("/:id", "/{id}").replace("*", "{file}");
    paths[place] = { ...paths[place], [method.toLowerCase()]: operation };
  };
  for (const name of routeNames) {
    add(name, operationOf(name, routes[name]));
  }
  for (const name of plainRouteNames) {
    const { summary, type, entrance } = plainRoutes[name];
    const content = { [type]: { schema: { type: type === "application/json" ? "object" : "string" } } };
    add(name, {
      summary,
      ...(name.includes("*") ? { parameters: [pathParameter("file")] } : {}),
      security: entrance === "open" ? [] : [{ [entrance.replace(" ", "_")]: [] }],
      responses: {
        200: { description: summary, content },
        ...(name === "GET /healthz" ? { 503: { description: "Why they are not", content } } : {}),
      },
    });
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Headrace: the console",
      version,
      description:
        "What an operator reads and asks for. An answer may have further fields; these are the ones that stay.",
    },
    paths,
    components: {
      schemas: toJsonSchemaDefs(named, asOutput),
      securitySchemes: {
        admin_token: { type: "http", scheme: "bearer" },
        metrics_token: {
          type: "http",
          scheme: "bearer",
          description: "Opens /metrics; the admin token does too.",
        },
      },
    },
  };
}

/** `Watermark` for `watermarkSchema`. */
const named: Record<string, v.GenericSchema> = {};
for (const [name, schema] of Object.entries({ ...answers, ...traces })) {
  if (name.endsWith("Schema") && typeof schema === "object" && "~standard" in schema) {
    named[`${name.charAt(0).toUpperCase()}${name.slice(1, -"Schema".length)}`] = schema;
  }
}

const asOutput: ConversionConfig = {
  target: "draft-2020-12",
  typeMode: "output",
  overrideSchema: ({ valibotSchema }) =>
    valibotSchema === answers.timeText
      ? { type: "string", format: "date-time", description: "UTC" }
      : valibotSchema === answers.timeMs
        ? { type: "number", description: "milliseconds since the epoch" }
        : undefined,
  overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
};
/** What no JSON Schema can say (a check of ours) is said by the answer of a 400. */
const asInput: ConversionConfig = { target: "draft-2020-12", typeMode: "input", errorMode: "ignore" };

function operationOf(name: string, { summary, query, body, answer, status }: Route): Operation {
  const parameters = [
    ...(name.includes("/:id") ? [pathParameter("id")] : []),
    ...(query === undefined ? [] : queryParameters(query)),
  ];
  const json = (schema: JsonSchema) => ({ "application/json": { schema } });
  const refusal = json(referenceTo(answers.refusalSchema));
  return {
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: json(bare(toJsonSchema(body, asInput))) } }),
    security: [{ admin_token: [] }],
    responses: {
      [status ?? 200]: { description: summary, content: json(referenceTo(answer)) },
      "4XX": {
        description: "What is asked for, or the token, is wrong: the sentence says what",
        content: refusal,
      },
      "5XX": { description: "A dependency did not answer: the sentence names it", content: refusal },
    },
  };
}

function referenceTo(schema: v.GenericSchema): JsonSchema {
  const name = Object.keys(named).find((one) => named[one] === schema);
  return { $ref: `#/components/schemas/${name}` };
}

function pathParameter(name: string): object {
  return { name, in: "path", required: true, schema: { type: "string" } };
}

function queryParameters(query: v.GenericSchema): readonly object[] {
  const { properties = {}, required = [] } = toJsonSchema(query, asInput);
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema,
  }));
}

function bare({ $schema: _dialect, ...schema }: JsonSchema): JsonSchema {
  return schema;
}
