// A gate file: what it may say, read by its schema. What is wrong with it is told with the place, and what was meant.
import { Ajv, type ErrorObject } from "ajv";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, parseJson, shortened } from "../../base/json.ts";
import { nearestKey } from "../../base/near.ts";
import type { BackendChoice, RoutingChoice } from "../../parity/choices.ts";
import type { BlockName } from "../block.ts";
import type { ProfileName } from "../profile.ts";
import type { ConfigWaiver, KnownWaiver, WeightWaiver } from "../waivers.ts";
import { GATE_SCHEMA } from "./schema.ts";
import { SMALLEST } from "./smallest.ts";

export interface GateInputs {
  readonly tokens?: number;
  readonly ids?: readonly string[];
  readonly prompts?: readonly string[];
  readonly files?: readonly string[];
  readonly chatTemplate?: boolean;
  readonly images?: readonly string[];
  readonly tokenizer?: string;
}

export interface GateLimits {
  readonly maxKl?: number;
  readonly minTop1?: number;
  readonly maxRam?: string;
}

export interface GateAccept {
  readonly known?: readonly KnownWaiver[];
  readonly weights?: readonly WeightWaiver[];
  readonly config?: readonly ConfigWaiver[];
}

/** What holds for all checkpoints, or for one. */
interface Choices {
  readonly inputs?: GateInputs;
  readonly checks?: readonly BlockName[];
  readonly require?: readonly string[];
  readonly limits?: GateLimits;
  readonly accept?: GateAccept;
}

export interface GateCheckpoint extends Choices {
  readonly name?: string;
  readonly source: string;
  readonly target?: string;
  readonly config?: string;
  readonly sourceConfig?: string;
  readonly targetConfig?: string;
  readonly family?: string;
  readonly layout?: string;
  readonly profile?: ProfileName;
  readonly goldens?: readonly string[];
  readonly seal?: string;
}

/** The file as it is written; docs/schema/gate.schema.json says what each field means. */
export interface GateFile extends Choices {
  readonly $schema?: string;
  readonly checkpoints: readonly GateCheckpoint[];
  readonly backend?: BackendChoice;
  readonly routing?: RoutingChoice;
  readonly upstream?: readonly string[];
  readonly adapters?: readonly string[];
  readonly reports?: readonly string[];
}

/** @param file for messages. Throws InputError GATE_FILE_INVALID. */
export function parseGateFile(text: string, file: string): GateFile {
  const json = jsonOf(text, file);
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: false });
  const isGateFile = ajv.compile<GateFile>(GATE_SCHEMA);
  if (!isGateFile(json)) throw faultOf(isGateFile.errors ?? [], file);
  for (const [place, inputs] of inputsIn(json)) checkOneKind(inputs, file, place);
  return json;
}

function jsonOf(text: string, file: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause);
    throw refused(file, "", { what: "not JSON", expected: `a JSON object: ${SMALLEST}`, found, cause });
  }
}

interface Refusal {
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  readonly help?: string;
  readonly cause?: unknown;
}

function refused(file: string, place: string, { what, help, ...rest }: Refusal): InputError {
  const way = help ?? "the schema says what each field means: docs/schema/gate.schema.json";
  return new InputError("GATE_FILE_INVALID", `${file}: ${place === "" ? "" : `${place}: `}${what}`, {
    file,
    help: way,
    ...rest,
  });
}

const REMARK = ["additionalProperties", "required", "enum", "type"];

/** The first fault in the file; of several at one place the one that says most. */
function faultOf(errors: readonly ErrorObject[], file: string): InputError {
  const order = ({ keyword }: ErrorObject) => (REMARK.indexOf(keyword) + REMARK.length + 1) % (REMARK.length + 1);
  const [first] = errors.toSorted((a, b) => order(a) - order(b));
  if (first === undefined)
    return refused(file, "", { what: "not a gate", expected: SMALLEST, found: "something else" });
  const { instancePath, keyword, data } = first;
  switch (keyword) {
    case "additionalProperties":
      return unknownKey(first, file);
    case "required": {
      const name = `"${textOf(first.params.missingProperty)}"`;
      const keys = isJsonObject(data) ? Object.keys(data).join(", ") : "";
      return refused(file, instancePath, {
        what: `${name} is missing`,
        expected: name,
        found: keys === "" ? "an empty object" : keys,
        help: instancePath === "" ? `this suffices: ${SMALLEST}` : `add ${name}`,
      });
    }
    case "enum":
      return notOneOf(first, file);
    default:
      return refused(file, instancePath, { ...wordsOf(first), found: shortened(data) });
  }
}

/** What a value is and what it should be. */
function wordsOf({
  keyword,
  data,
  params,
  parentSchema,
  message = "",
}: ErrorObject): Pick<Refusal, "what" | "expected"> {
  const value = shortened(data);
  const examples: unknown = parentSchema?.examples;
  switch (keyword) {
    case "type":
      return { what: `${value} is no ${textOf(params.type)}`, expected: `a value of type ${textOf(params.type)}` };
    case "minItems":
    case "minLength":
      return { what: "it is empty", expected: "at least one" };
    case "uniqueItems":
      return { what: "it names one thing twice", expected: "each once" };
    case "pattern": {
      const like = Array.isArray(examples) ? textOf(examples[0]) : textOf(params.pattern);
      return { what: `${value} is not of the form of ${like}`, expected: `such as ${like}` };
    }
    default:
      return { what: `${value} ${message}`, expected: message.replace(/^must be /, "a number ") };
  }
}

function unknownKey({ instancePath, params, parentSchema }: ErrorObject, file: string): InputError {
  const key = textOf(params.additionalProperty);
  const known = Object.keys(isJsonObject(parentSchema?.properties) ? parentSchema.properties : {});
  const near = nearestKey(key, known);
  return refused(file, `${instancePath}/${key}`, {
    what: "unknown key",
    expected: known.join(", "),
    found: key,
    help: near === undefined ? "leave it out" : `did you mean "${near}"?`,
  });
}

function notOneOf({ instancePath, data, params }: ErrorObject, file: string): InputError {
  const values = Array.isArray(params.allowedValues) ? params.allowedValues.map(String) : [];
  const near = typeof data === "string" ? nearestKey(data, values) : undefined;
  return refused(file, instancePath, {
    what: `${shortened(data)} is none of the choices`,
    expected: values.join(", "),
    found: shortened(data),
    help: near === undefined ? `choose one of ${values.join(", ")}` : `did you mean "${near}"?`,
  });
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : shortened(value));

const inputsIn = ({ inputs, checkpoints }: GateFile): (readonly [string, GateInputs])[] => [
  ...(inputs === undefined ? [] : [["/inputs", inputs] as const]),
  ...checkpoints.flatMap((each, i) =>
    each.inputs === undefined ? [] : [[`/checkpoints/${i}/inputs`, each.inputs] as const],
  ),
];

function checkOneKind({ tokens, ids, prompts, files, ...ofPrompts }: GateInputs, file: string, place: string): void {
  const kinds = Object.entries({ tokens, ids, prompts, files }).filter(([, value]) => value !== undefined);
  const names = kinds.map(([name]) => name);
  if (names.length > 1) {
    throw refused(file, place, {
      what: `${names.join(" and ")} exclude each other`,
      expected: "one kind of input",
      found: names.join(", "),
      help: "leave one; a checkpoint may stand twice, under two names",
    });
  }
  const [option] = Object.keys(ofPrompts);
  if (option === undefined || prompts !== undefined) return;
  throw refused(file, `${place}/${option}`, {
    what: "it is for prompts",
    expected: '"prompts" beside it',
    found: names.join(", ") || "no input",
    help: "add prompts, or leave it out",
  });
}
