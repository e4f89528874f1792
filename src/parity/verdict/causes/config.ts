// Configs that differ: which fields move the logits, and whose are wrong. Each config is run on both sides.

import { type ConfigDifference, ConfigPair } from "../../../family/config-differences.ts";
import type { Cause } from "../../../faults/cause.ts";
import { configDiffers } from "../../../faults/model/config-differs.ts";
import type { Rerun } from "../laboratory.ts";
import { type Case, isAtFloor, nats, plural } from "./cause.ts";

export interface ConfigStudy {
  /** Each side at its own config. */
  readonly before: Rerun;
  /** With one side's config on both; null where the weights do not fit it, or nothing had to be run. */
  readonly both: { readonly a: Rerun | null; readonly b: Rerun | null };
  /** The one of these runs that comes nearest: what it leaves has another reason. */
  readonly after: Rerun;
  /** Whether the configs are why the logits differ, or most of it. */
  readonly explains: boolean;
  /** Fields that change nothing when they alone are undone. */
  readonly inert: ReadonlySet<string>;
}

/** Fields that are undone one by one: each takes a run. */
const MOST_FIELDS = 8;
/** Where so much of the mean KL stays, the configs are no part of it worth the name. */
const MOST_OF_IT = 0.9;
/** A smaller change of the mean KL is rounding. */
const SAME = 1e-6;

/** @param before each side at its own config. Null where the configs do not differ. */
export async function studyConfigs(of: Case, before: Rerun, inOneType: boolean): Promise<ConfigStudy | null> {
  const { evidence, laboratory, noise } = of;
  const [a, b] = laboratory.families;
  if (evidence.configDifferences.length === 0 || a === undefined || b === undefined) return null;
  const none = { before, both: { a: null, b: null }, after: before, explains: false, inert: new Set<string>() };
  if (isAtFloor(before.metrics, noise)) return none;
  const both = {
    a: await laboratory.run({ families: [a, a], inOneType }),
    b: await laboratory.run({ families: [b, b], inOneType }),
  };
  const after = [both.a, both.b].reduce<Rerun>((best, run) => (run && kl(run) < kl(best) ? run : best), before);
  const explains = kl(after) < kl(before) / 2;
  return { before, both, after, explains, inert: explains ? await inertFields(of, before, inOneType) : new Set() };
}

const kl = ({ metrics }: Rerun): number => metrics.klMeanNats;

async function inertFields(of: Case, before: Rerun, inOneType: boolean): Promise<ReadonlySet<string>> {
  const { evidence, laboratory, trial } = of;
  const fields = evidence.configDifferences.map(({ field }) => field);
  if (fields.length === 1 || fields.length > MOST_FIELDS) return new Set();
  const [a, b] = laboratory.families;
  const pair = new ConfigPair(a!, b!);
  // A side that computes each of its fields: a trainer's code leaves some out.
  const at = trial.sides.findIndex(({ layout }) => layout.side === "hf");
  const inert = new Set<string>();
  for (const field of fields) {
    const family = pair.with(at === 0 ? "a" : "b", [field]);
    const run = family && (await laboratory.run({ families: at === 0 ? [family, b!] : [a!, family], inOneType }));
    if (run && Math.abs(kl(run) - kl(before)) <= SAME * kl(before)) inert.add(field);
  }
  return inert.size === fields.length ? new Set() : inert;
}

/** What explains the logits, then fields that do not. */
export function configCauses({ evidence, noise, trial, laboratory }: Case, study: ConfigStudy | null): Cause[] {
  const differences = configDiffers.recognise(evidence.configDifferences);
  if (study === null || differences === null) return [];
  const isInert = ({ field }: ConfigDifference) => study.inert.has(field);
  const [acting, inert] = [differences.filter((each) => !isInert(each)), differences.filter(isInert)];
  const asked = { a: laboratory.knownAt(0), b: laboratory.knownAt(1) };
  const beyond = { a: without(asked.a, asked.b), b: without(asked.b, asked.a) };
  const wrong = sideAtFault(study, beyond, (run) => isAtFloor(run.metrics, noise));
  const fields = acting.map(({ field }) => field);
  const [other, paths] = [wrong === "a" ? "b" : "a", evidence.coverage.configs] as const;
  const mend =
    wrong === null || paths[other] === null
      ? configDiffers.mend(acting)
      : `give ${wrong} the config of ${other} and compare again: --config-${wrong} ${paths[other].path}`;
  const { layout } = trial.sides.find((side) => side.layout.side === "native") ?? trial.sides[other === "a" ? 0 : 1]!;
  const asks = wrong === null || beyond[wrong].length === 0 ? "" : ` (${beyond[wrong].join(", ")})`;
  const main: Cause = {
    code: configDiffers.code,
    tensors: [],
    fields,
    explanation:
      wrong === null
        ? `${configDiffers.words(acting)}: ${fields.join(", ")}`
        : `${configDiffers.words(acting)}, and ${wrong}'s is wrong in ${fields.join(", ")}, or asks for what ${layout.name} does not compute${asks}`,
    evidence: [acting.map(inBoth).join("; "), ...effect(study, wrong, (run) => isAtFloor(run.metrics, noise))].join(
      "; ",
    ),
    fix: mend,
  };
  if (inert.length === 0) return [main];
  const others: Cause = {
    code: configDiffers.code,
    tensors: [],
    fields: inert.map(({ field }) => field),
    explanation: `the configs differ without an effect on these logits, too: ${inert.map(({ field }) => field).join(", ")}`,
    evidence: `${inert.map(inBoth).join("; ")}; with ${plural(inert.length, "such field")} undone, one at a time, mean KL stays ${nats(study.before.metrics)}`,
    fix: configDiffers.mend(inert),
  };
  return [main, others];
}

const without = (codes: readonly string[], others: readonly string[]): string[] =>
  codes.filter((code) => !others.includes(code));

/**
 * The side whose config the other side's pass does not follow, or that alone asks for what the trainer is known not to
 * compute; null where either config serves both sides, or none does.
 */
function sideAtFault(
  { both: { a, b } }: ConfigStudy,
  beyond: Readonly<Record<"a" | "b", readonly string[]>>,
  isRight: (run: Rerun) => boolean,
): "a" | "b" | null {
  const [withA, withB] = [a !== null && isRight(a), b !== null && isRight(b)];
  if (withA !== withB) return withA ? "b" : "a";
  if (!withA || beyond.a.length > 0 === beyond.b.length > 0) return null;
  return beyond.a.length > 0 ? "a" : "b";
}

function effect(
  { before, both: { a, b }, explains }: ConfigStudy,
  wrong: "a" | "b" | null,
  isRight: (run: Rerun) => boolean,
): string[] {
  const said = `mean KL is ${nats(before.metrics)}`;
  if (isRight(before)) return [`${said}: no logit of this input shows it`];
  const runs = [
    a === null ? "the weights of b do not fit a's config" : `with a's config on both sides it is ${nats(a.metrics)}`,
    b === null ? "the weights of a do not fit b's config" : `with b's config on both sides it is ${nats(b.metrics)}`,
  ];
  const least = Math.min(...[a, b].flatMap((run) => (run === null ? [] : [kl(run)])));
  if (least < MOST_OF_IT * kl(before) && !explains)
    return [said, ...runs, "so that the configs are the lesser part of it"];
  if (!explains) return [said, ...runs, "so that the configs are not why the logits differ"];
  const isEither = a !== null && b !== null && isRight(a) && isRight(b);
  return [
    said,
    ...runs,
    ...(isEither && wrong === null ? ["which config the model was trained with, --golden tells"] : []),
  ];
}

/** Both values as the files have them. */
export function inBoth(difference: ConfigDifference): string {
  const { field, a, b } = difference;
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.length > 4) {
    const differing = a.flatMap((value, i) => (JSON.stringify(value) === JSON.stringify(b[i]) ? [] : [i]));
    const [first = 0] = differing;
    return `${field}: ${differing.length} of ${a.length} entries differ, the first at ${first}: ${show(a[first])} in a, ${show(b[first])} in b`;
  }
  return `${field}: ${valueIn("a", difference)} in a, ${valueIn("b", difference)} in b`;
}

function valueIn(side: "a" | "b", { absent, ...values }: ConfigDifference): string {
  if (absent?.in !== side) return show(values[side]);
  return absent.default === undefined ? "absent" : `absent, which stands for ${show(absent.default)},`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}
