/** Compares answers with an OpenAPI document, by a JSON Schema validator that shares nothing with valibot. */
import { Ajv2020 } from "ajv/dist/2020.js";
import type { OpenApi } from "../../dev/openapi.ts";

/** `GET /api/keys/:id` with its status and body: what of it is not as the document says; empty: nothing. */
export type Disagreement = (name: string, status: number, body: unknown) => string;

export function disagreementWith(document: OpenApi): Disagreement {
  const ajv = new Ajv2020({ strictTypes: false });
  // UTC alone: an hour of anywhere else is none of ours.
  ajv.addFormat("date-time", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  // The document as a whole is no schema: its keywords are OpenAPI's.
  ajv.addVocabulary(["openapi", "info", "paths", "components"]);
  ajv.addSchema(document, "openapi");
  return (name, status, body) => {
    const [method = "", path = ""] = name.split(" ");
    const place = `/paths/${path.replace("/:id", "/{id}").replaceAll("/", "~1")}/${method.toLowerCase()}`;
    const range = status === 200 || status === 201 ? status : `${Math.floor(status / 100)}XX`;
    const pointer = `openapi#${encodeURI(`${place}/responses/${range}/content/application~1json/schema`)}`;
    const validate = ajv.getSchema(pointer);
    if (validate === undefined) {
      return `${name} ${status} is not in the document`;
    }
    return validate(body) === true ? "" : `${name} ${status}: ${ajv.errorsText(validate.errors)}`;
  };
}
