// What a report of `convert` tells of a model's source, in words that may be published.
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { Evidence } from "../evidence/bind.ts";
import type { CardModel } from "./model.ts";
import { placeName, withoutPaths } from "./text.ts";

export interface Origin {
  /** Without the folders of the machine that it was on. */
  readonly path: string;
  /** Where the source is on the Hub; null elsewhere. */
  readonly repository: { readonly name: string; readonly commit: string | null } | null;
  readonly layout: string;
  readonly format: string;
  /** Of the tool that converted. */
  readonly version: string;
  readonly command: string;
  /** What is not as it was: casts, tensors that were left out. */
  readonly changes: readonly (readonly [label: string, value: string])[];
}

/** Null where no report of these files' conversion is among the evidence. */
export function originOf(evidence: readonly Evidence[]): Origin | null {
  const conversion = evidence.find(
    ({ bond, runs }) => bond === "files" && runs.some(({ subjects }) => subjects.has("conversion")),
  );
  if (conversion === undefined) return null;
  const { json, version, command } = conversion.report;
  const from = isJsonObject(json.from) ? json.from : {};
  const path = textOf(from.path);
  return {
    path: placeName(path),
    repository: repositoryOf(path, from),
    layout: textOf(from.layout),
    format: textOf(from.format),
    version,
    command,
    changes: [...casts(json), ...leftOut(json)],
  };
}

/** What a record beside the weights tells of their source. */
export function recordedOrigin({ layout, format, source }: NonNullable<CardModel["record"]>) {
  const path = source ?? "a checkpoint";
  return { path: placeName(path), repository: repositoryOf(path, {}), layout, format };
}

const ON_HUB = /^hf:\/\/(?:models\/)?([^/@]+\/[^/@]+)(?:@([^/]+))?/;

/** @param from may name the commit that a revision stood for */
function repositoryOf(path: string, from: JsonObject): Origin["repository"] {
  const [, name, revision] = ON_HUB.exec(path) ?? [];
  if (name === undefined) return null;
  const commit = [from.commit, revision].find((each) => typeof each === "string" && /^[0-9a-f]{40}$/.test(each));
  return { name, commit: typeof commit === "string" ? commit : null };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "unknown");

function casts({ casts: list }: JsonObject): Origin["changes"] {
  const found = Array.isArray(list) ? list.filter(isJsonObject) : [];
  if (found.length === 0) return [];
  const kinds = new Map<string, number>();
  for (const { from, to } of found) {
    const kind = `${textOf(from)} to ${textOf(to)}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [["cast", [...kinds].map(([kind, count]) => `${tensors(count)} ${kind}`).join(", ")]];
}

const NAMES_SHOWN = 8;

function leftOut({ dropped: list }: JsonObject): Origin["changes"] {
  const found = Array.isArray(list) ? list.filter(isJsonObject) : [];
  const isTrainers = ({ reason }: JsonObject) => reason === "trainer state" || reason === "not a tensor";
  const [of, others] = [found.filter((each) => !isTrainers(each)), found.filter(isTrainers)];
  const names = of.slice(0, NAMES_SHOWN).map(({ key, reason }) => `${textOf(key)} (${textOf(reason)})`);
  const more = of.length > NAMES_SHOWN ? [`${of.length - NAMES_SHOWN} more`] : [];
  const state = others.length === 0 ? [] : [`${others.length} entries of the trainer's own`];
  const all = [...names, ...more, ...state];
  return all.length === 0 ? [] : [["left out", withoutPaths(all.join(", "))]];
}

const tensors = (count: number): string => (count === 1 ? "1 tensor" : `${count} tensors`);

/** The command line as it was, with places of the machine cut to their last names. */
export function commandOf({ command, version }: Origin): string {
  const [, ...words] = command.split(" ");
  const kept = words.filter((word, i) => !isBeside(word) && !(TAKES_VALUE.test(words[i - 1] ?? "") && !isOption(word)));
  const named = kept.map((word) => {
    const [, option = "", value = word] = /^(--[\w-]+=)(.*)$/s.exec(word) ?? [];
    return option + placeName(value);
  });
  return [`npx convert-checkpoint@${version}`, ...named].join(" ");
}

/** Options that say how a run is told of, or where its result goes, and nothing of the result itself. */
const TAKES_VALUE = /^--(?:report|push|max-ram|workers)$/;
const FLAGS = /^--(?:json|quiet|progress|no-color|force|resume|no-fsync|pr|public|card)$/;

const isOption = (word: string): boolean => word.startsWith("--");

const isBeside = (word: string): boolean => FLAGS.test(word) || TAKES_VALUE.test(word.split("=", 1)[0] ?? "");
