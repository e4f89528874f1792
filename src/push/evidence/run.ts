// Reports as evidence: what a document of one of our commands says that was run, on what, and what came out.
import type { Check } from "../../base/check.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";

/** What a run was about. */
export type Subject = "conversion" | "logits" | "identity" | "round trip" | "values" | "seal";

/** One run: a report has one, or several where it is that of a gate or of `check`. */
export interface Run {
  /** `parity`, or of a page of a gate its name, too. */
  readonly name: string;
  readonly subjects: ReadonlySet<Subject>;
  readonly verdict: "pass" | "fail";
  readonly checks: readonly Check[];
  /** The numbers that it came to, in words; null where there are none. */
  readonly figures: string | null;
  /** Roots of seals that it says its model has, in hex. */
  readonly roots: ReadonlySet<string>;
  /** Hashes of the configs' mathematics, in hex; empty where it names none. */
  readonly mathematics: ReadonlySet<string>;
}

/** A document's result, without its header; null of a command that shows nothing about a model. */
export function runsOf(document: JsonObject): readonly Run[] | null {
  if (Array.isArray(document.checkpoints)) {
    return document.checkpoints.filter(isJsonObject).flatMap((page) => {
      if (page.verdict !== "pass" && page.verdict !== "fail") return [];
      const name = typeof page.name === "string" ? `gate, ${page.name}` : "gate";
      return [{ ...pageRun(page), name }];
    });
  }
  if (Array.isArray(document.blocks) && "ledgers" in document) return [{ ...pageRun(document), name: "check" }];
  const kind = KINDS.find(({ has }) => has.every((field) => field in document));
  return kind === undefined ? null : [runOf(kind.name, document, kind.subjects)];
}

/** By the fields that no other document has. */
const KINDS: readonly {
  readonly name: string;
  readonly has: readonly string[];
  readonly subjects: readonly Subject[];
}[] = [
  { name: "convert", has: ["from", "to", "sourceTensors", "durable"], subjects: ["conversion"] },
  { name: "parity", has: ["metrics", "thresholds", "backend"], subjects: ["logits"] },
  { name: "roundtrip", has: ["via", "hashes", "differences"], subjects: ["round trip"] },
  { name: "match", has: ["expectedRoot", "root", "differences"], subjects: ["identity"] },
  { name: "diff", has: ["a", "b", "keys", "differences"], subjects: ["identity"] },
  { name: "seal", has: ["seal", "root", "layout"], subjects: ["seal"] },
  { name: "validate", has: ["path", "differences", "tensors", "layout"], subjects: ["values"] },
];

function pageRun(page: JsonObject): Run {
  const isThere = (value: unknown): boolean =>
    Array.isArray(value) ? value.length > 0 : isJsonObject(value) && Object.keys(value).length > 0;
  const subjects: Subject[] = [
    ...(isThere(page.parity) || isThere(page.goldens) ? (["logits"] as const) : []),
    ...(isThere(page.diff) || isThere(page.match) ? (["identity"] as const) : []),
    ...(isThere(page.roundtrips) ? (["round trip"] as const) : []),
    ...(isThere(page.validations) ? (["values"] as const) : []),
  ];
  return runOf("check", page, subjects);
}

function runOf(name: string, document: JsonObject, subjects: readonly Subject[]): Run {
  return {
    name,
    subjects: new Set(subjects),
    verdict: document.verdict === "pass" ? "pass" : "fail",
    checks: checksIn(document.checks),
    figures: figuresIn(document),
    roots: new Set(rootsIn(document)),
    mathematics: new Set(mathematicsIn(document)),
  };
}

function checksIn(value: unknown): Check[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isJsonObject).flatMap(({ name, status, detail }) => {
    if (typeof name !== "string") return [];
    if (status !== "passed" && status !== "failed" && status !== "not checked") return [];
    return [{ name, status, ...(typeof detail === "string" && detail !== "" ? { detail } : {}) }];
  });
}

/** A seal of what was written, of a side, or of the whole document. */
function rootsIn({ seal, root }: JsonObject): string[] {
  const of = isJsonObject(seal) ? seal.root : undefined;
  return [of, root].filter((each) => typeof each === "string");
}

function mathematicsIn({ seal, configs, config }: JsonObject): string[] {
  const sides = isJsonObject(configs) ? Object.values(configs).filter(isJsonObject) : [];
  const sealed = isJsonObject(seal) ? seal.config : undefined;
  const matched = isJsonObject(config) ? config.sha256 : undefined;
  return [
    ...sides.map(({ mathematics }) => mathematics),
    isJsonObject(sealed) ? sealed.sha256 : sealed,
    matched,
  ].filter((each) => typeof each === "string");
}

function figuresIn(document: JsonObject): string | null {
  const { metrics, thresholds, inputs, parity, backend } = document;
  if (isJsonObject(parity)) return figuresIn(parity);
  if (!isJsonObject(metrics)) return null;
  const limit = isJsonObject(thresholds) ? thresholds.klMeanNats : undefined;
  const of = isJsonObject(inputs) && typeof inputs.kind === "string" ? ` of ${inputs.kind} input` : "";
  const by = isJsonObject(backend) && typeof backend.name === "string" ? `, on ${backend.name}` : "";
  const within = typeof limit === "number" ? ` (limit ${limit.toExponential()})` : "";
  return `mean KL ${number(metrics.klMeanNats)} nats/token${within}, largest ${number(metrics.klMaxNats)}, top-1 ${number(metrics.top1)} over ${number(metrics.tokens)} tokens${of}${by}`;
}

const number = (value: unknown): string =>
  typeof value !== "number" ? "NaN" : Number.isInteger(value) ? String(value) : Number(value.toPrecision(4)).toString();
