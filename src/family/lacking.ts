// Names what an adapter from outside lacks: no compiler tells the author of a module in JavaScript.
import { InputError } from "../base/errors.ts";
import type { Adapter } from "./adapter.ts";

type Kind = "text" | "list" | "function" | "object";
type Fields = Readonly<Record<string, Kind>>;

const FACTS = {
  family: "text",
  modelTypes: "list",
  flavours: "list",
  modalities: "list",
  probes: "list",
  sources: "list",
  hf: "object",
  layouts: "list",
} as const satisfies Fields;

const ADAPTER: Fields = { ...FACTS, open: "function" };
const SPEC: Fields = {
  ...FACTS,
  parse: "function",
  facts: "function",
  axes: "function",
  math: "function",
  hfConfig: "function",
};
const LAYOUT: Fields = { name: "text", trainer: "text" };
const ROW: Fields = { ...LAYOUT, rules: "function" };

/** @throws InputError ADAPTER_INVALID, naming the field of an adapter that is missing or of another kind */
export function checkAdapter(adapter: unknown): asserts adapter is Adapter {
  if (!isObject(adapter)) throw invalid("its default export is no adapter, nor makes one");
  const lack = firstLack(adapter, ADAPTER) ?? lackInLayouts(adapter, LAYOUT, () => null);
  if (lack !== null) throw invalid(`in its adapter, ${lack}`);
}

/** @throws InputError ADAPTER_INVALID, naming the field of a description of a family that is missing or of another kind */
export function checkSpec(spec: object): void {
  const lack =
    firstLack(spec, SPEC) ??
    lackOfGraph("hf", field(spec, "hf")) ??
    lackInLayouts(spec, ROW, lackOfGraph) ??
    lackOfOpener(spec);
  if (lack !== null) throw invalid(`in the description of family "${field(spec, "family")}", ${lack}`);
}

const invalid = (problem: string): InputError =>
  new InputError("ADAPTER_INVALID", problem, { help: "see docs/add-a-family.md for what a family has" });

function lackInLayouts(of: object, fields: Fields, more: (name: string, row: object) => string | null): string | null {
  const layouts: unknown = field(of, "layouts");
  if (!Array.isArray(layouts) || layouts.length === 0)
    return '"layouts" is empty: a family has at least one native layout';
  for (const [i, row] of layouts.entries()) {
    const name = `layouts.${i}`;
    if (!isObject(row)) return `"${name}" is no object`;
    const lack = firstLack(row, fields, `${name}.`) ?? more(name, row);
    if (lack !== null) return lack;
  }
  return null;
}

function lackOfOpener(spec: object): string | null {
  const [hf, layouts]: unknown[] = [field(spec, "hf"), field(spec, "layouts")];
  const opener = isObject(hf) ? field(hf, "openedBy") : undefined;
  const isListed = Array.isArray(layouts) && layouts.some((row) => isObject(row) && field(row, "name") === opener);
  return opener === undefined || isListed
    ? null
    : `"hf.openedBy" names no layout of its list: ${JSON.stringify(opener)}`;
}

function lackOfGraph(name: string, of: unknown): string | null {
  const graph = isObject(of) ? field(of, "graph") : undefined;
  const isReason = isObject(graph) && typeof field(graph, "none") === "string";
  return typeof graph === "function" || isReason
    ? null
    : `"${name}.graph" has to be a function, or { none: "why there is no graph" }`;
}

function firstLack(of: object, fields: Fields, path = ""): string | null {
  const name = Object.keys(fields).find((each) => !isOfKind(field(of, each), fields[each]!));
  if (name === undefined) return null;
  const kind = fields[name] === "object" ? "an object" : `a ${fields[name]}`;
  return field(of, name) === undefined ? `"${path}${name}" is missing, ${kind}` : `"${path}${name}" has to be ${kind}`;
}

function isOfKind(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case "text":
      return typeof value === "string";
    case "list":
      return Array.isArray(value);
    case "function":
      return typeof value === "function";
    case "object":
      return isObject(value);
    default:
      throw kind satisfies never;
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
const field = (of: object, name: string): unknown => Reflect.get(of, name);
