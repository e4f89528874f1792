// Which model a report is about: that which is pushed, by hashes of files or by its seal, or another.
import { InputError } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import type { Report } from "./report.ts";
import type { Run } from "./run.ts";

/** What is pushed, by content. */
export interface Pushed {
  readonly path: string;
  /** SHA-256 of each file of weights, by name. */
  readonly weights: ReadonlyMap<string, string>;
  /** Of config.json; null where there is none. */
  readonly config: string | null;
  /** Of its seal; null where it has none. */
  readonly root: string | null;
  /** Hash of the config's mathematics; null where no family reads it. */
  readonly mathematics: string | null;
}

/** `files`: it read or wrote these very files. `model`: the same seal, in whatever files. `source`: what these were made of. */
export type Bond = "files" | "model" | "source";

export interface Evidence {
  readonly report: Report;
  readonly bond: Bond;
  /** Those of its runs that are about what is pushed. */
  readonly runs: readonly Run[];
}

/** Throws InputError EVIDENCE_FOREIGN for the first report that is about another model. */
export function bindAll(reports: readonly Report[], pushed: Pushed): readonly Evidence[] {
  const conversion = reports.find((report) => isConversionOf(report, pushed));
  return reports.map((report) => bound(report, pushed, conversion));
}

/** Whether a report tells how these files were made. */
export const isConversionOf = ({ written }: Report, { weights }: Pick<Pushed, "weights">): boolean =>
  holdsAll(written, [...weights.values()]);

function bound(report: Report, pushed: Pushed, conversion: Report | undefined): Evidence {
  const { weights } = pushed;
  if (holdsAll([...report.read, ...report.written], [...weights.values()])) {
    const [run, second] = report.runs;
    const runs =
      second === undefined && run !== undefined ? [run] : report.runs.filter((each) => ofModel(each, pushed));
    if (runs.length > 0 && isOfConfig(report, runs, pushed)) return { report, bond: "files", runs };
    throw foreign(report, pushed, "the same weights with another config");
  }
  const sealed = report.runs.filter((run) => !run.subjects.has("conversion") && ofModel(run, pushed));
  if (sealed.length > 0) return { report, bond: "model", runs: sealed };
  const source = conversion === undefined ? [] : conversion.read.filter(({ name }) => isWeights(name));
  const isOfSource = source.length > 0 && report !== conversion && report.runs.length === 1;
  if (
    isOfSource &&
    holdsAll(
      report.read,
      source.map(({ sha256 }) => sha256),
    )
  ) {
    return { report, bond: "source", runs: report.runs };
  }
  throw foreign(report, pushed, foundIn(report, weights));
}

const isWeights = (name: string): boolean => /\.(?:safetensors|distcp|pt|pth|bin)$/.test(name);

const holdsAll = (files: Report["read"], hashes: readonly string[]): boolean =>
  hashes.length > 0 && hashes.every((hash) => files.some(({ sha256 }) => sha256 === hash));

const ofModel = ({ roots, mathematics }: Run, pushed: Pushed): boolean =>
  pushed.root !== null && roots.has(pushed.root) && isSameMathematics(mathematics, pushed);

const isSameMathematics = (found: ReadonlySet<string>, { mathematics }: Pushed): boolean =>
  mathematics === null || found.size === 0 || found.has(mathematics);

/** The same weights under another config compute something else. */
function isOfConfig({ json, read }: Report, runs: readonly Run[], pushed: Pushed): boolean {
  const { config, mathematics, weights } = pushed;
  const configs = Object.entries(isJsonObject(json.configs) ? json.configs : {}).flatMap(([side, of]) =>
    isJsonObject(of) ? [{ side, sha256: of.sha256, mathematics: of.mathematics }] : [],
  );
  if (config === null || configs.length === 0) return true;
  const hashes = [...weights.values()];
  const places = read.filter(({ sha256 }) => hashes.includes(sha256)).map(({ name }) => name);
  // Which of two sides the weights are, by where that side says it lies.
  const own = configs.filter(({ side }) => {
    const of = json[side];
    const path = isJsonObject(of) ? of.path : of;
    return typeof path === "string" && places.some((place) => place.includes(path.replace(/^\.\//, "")));
  });
  const sides = own.length > 0 ? own : configs;
  const known = own.length > 0 ? own.map((each) => each.mathematics) : runs.flatMap((run) => [...run.mathematics]);
  return sides.some(({ sha256 }) => sha256 === config) || (mathematics !== null && known.includes(mathematics));
}

function foundIn({ read, written, runs }: Report, weights: Pushed["weights"]): string {
  const files = [...read, ...written];
  const missing = [...weights].filter(([, hash]) => !files.some(({ sha256 }) => sha256 === hash));
  const roots = runs.flatMap((run) => [...run.roots]);
  if (missing.length < weights.size)
    return `${missing.length} of ${weights.size} files of weights are others: ${missing[0]?.[0]}`;
  return roots.length === 0 ? "a report on other files, without a seal" : `the model of root ${roots[0]}`;
}

const foreign = ({ path }: Report, { path: pushed, root, weights }: Pushed, found: string): InputError =>
  new InputError("EVIDENCE_FOREIGN", `${path}: a report on something else than ${pushed}`, {
    file: path,
    expected:
      root === null ? `a report that read ${[...weights.keys()][0] ?? "these weights"}` : `the model of root ${root}`,
    found,
    help: `run the check on ${pushed} itself, with --report FILE.json, or leave this report out`,
  });
