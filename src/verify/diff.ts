// Two checkpoints, tensor by tensor, whatever their layouts and containers.
import type { Check } from "../base/check.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import type { ConfigDifference } from "../family/config-differences.ts";
import type { Cause } from "../faults/cause.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { checkAdapters, checkArgument } from "../model/argument-kinds.ts";
import { compareSources, compareTensors } from "../views/compare.ts";
import type { Difference } from "../views/difference.ts";
import { type CastTypes, castLike, castTypes, castWords, isCast } from "../views/rounding.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { causesOf } from "./diff-causes.ts";
import { configsOf } from "./diff-configs.ts";
import { lackedByBoth, lackingNotes, withoutAliases } from "./diff-table.ts";
import { type Compared, type DiffPair, type DiffView, type PairOptions, pairOf } from "./diff-views.ts";
import { checksumChecks } from "./not-checked.ts";

export type { Compared } from "./diff-views.ts";

/** Where a and b have tensors in other floating-point types. */
export interface DiffCast {
  readonly types: readonly CastTypes[];
  /** Whether it was asked for (`--after-cast`): then a is compared as cast to the types of b. */
  readonly asked: boolean;
  /** Whether each tensor of b is a's, cast: bit for bit, as a conversion casts. */
  readonly exact: boolean;
}

/** The JSON document of `diff` (CONTRACT). */
export interface Diff {
  readonly verdict: "pass" | "fail";
  readonly a: Compared;
  readonly b: Compared;
  /** Whose keys the differences are told in: of the layout that both sides have, of `hf`, or of the files (`raw`). */
  readonly keys: string;
  /** Tensors that both sides have. */
  readonly tensors: number;
  /** Of these tensors, in a. */
  readonly bytes: number;
  readonly differences: readonly Difference[];
  /** Null where all tensors have the same types. */
  readonly cast: DiffCast | null;
  /** The first of `causes`. */
  readonly cause: Cause | null;
  /** What was done to the tensors that differ, the most specific first. */
  readonly causes: readonly Cause[];
  /** In what the forward pass computes; they leave the verdict alone, which is about tensors. Null where not compared. */
  readonly configDifferences: readonly ConfigDifference[] | null;
  readonly configsNotCompared: string | null;
  /** What else could not be checked. */
  readonly notChecked: readonly Check[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

export interface DiffOptions extends StepOptions, PairOptions {
  /** Asks whether b is exactly the rounding of a to the types of b. */
  readonly afterCast?: boolean | undefined;
}

/**
 * Sides of one layout are compared by their keys as they are; of two layouts, as `hf`, for which each needs its config; so
 * are two spellings of one layout, where the configs are there.
 * Throws InputError where a side cannot be read, or where one is of a known family and the other is not.
 */
export async function diff(a: Checkpoint, b: Checkpoint, options: DiffOptions): Promise<Diff> {
  for (const checkpoint of [a, b]) checkArgument("diff", "Checkpoint", checkpoint);
  for (const each of [options.a, options.b]) checkAdapters("diff", each);
  const begin = performance.now();
  const pair = pairOf(a, b, options);
  const [left, right] = pair.views;
  const shared = [...left.source.tensors.values()].filter(({ key }) => right.source.tensors.has(key));
  const bytes = shared.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const { differences, causes, cast, notes } = await runSteps(
    compareViews(pair, options.afterCast ?? false),
    "comparing",
    2 * bytes,
    options,
  );
  left.verify();
  right.verify();
  const configs = configsOf(pair.models);
  return {
    verdict: differences.length === 0 ? "pass" : "fail",
    a: left.about,
    b: right.about,
    keys: pair.keys,
    tensors: shared.length,
    bytes,
    differences,
    cause: causes[0] ?? null,
    causes,
    cast,
    configDifferences: configs.differences,
    configsNotCompared: configs.reason,
    notChecked: [...checksumChecks(a, "a"), ...checksumChecks(b, "b")],
    notes: [
      ...left.spelling.map((note) => `a: ${note}`),
      ...right.spelling.map((note) => `b: ${note}`),
      ...notes,
      ...unreadNotes(configs.unread),
    ],
    seconds: (performance.now() - begin) / 1e3,
  };
}

const unreadNotes = (fields: readonly string[]): string[] =>
  fields.length === 0 ? [] : [`not compared, as no graph reads them, the configs' ${fields.join(", ")}`];

type Found = Pick<Diff, "differences" | "causes" | "cast" | "notes">;
type Steps<T> = Generator<number, T, void>;

function* compareViews({ views: [a, b], byTable }: DiffPair, afterCast: boolean): Steps<Found> {
  const own = [...labelled(yield* a.faults(), "a"), ...labelled(yield* b.faults(), "b")];
  const told = new Set(own.map(({ key }) => key));
  const types = castTypes(a.source, b.source);
  const isAsked = afterCast && types.length > 0;
  const source = isAsked ? castLike(a.source, b.source) : a.source;
  const compared = yield* compareSources(source, b.source, isAsked ? AS_CAST : {});
  const { differences: found, notes } = yield* withoutAliases(a, b, compared);
  const lacking = lackedByBoth(a, b, found);
  const differences = [...own, ...(byTable ? lacking : []), ...found.filter(({ key }) => !told.has(key))];
  const cast = types.length === 0 ? null : { types, asked: isAsked, ...(yield* exactness(a, b)) };
  return {
    differences,
    causes: yield* causesOf(source, b.source, differences),
    cast: cast && { types, asked: isAsked, exact: cast.exact },
    // Where no table was needed, files are what was compared, and these are equal.
    notes: [...notes, ...(byTable ? [] : lackingNotes(lacking)), ...castNotes(cast, afterCast)],
  };
}

const AS_CAST = { sameNaN: true, a: "a as cast" } as const;

const labelled = (faults: readonly Difference[], side: string): Difference[] =>
  faults.map((fault) => ({ ...fault, detail: `in ${side}: ${fault.detail}` }));

/** How a and b relate where their types differ. */
interface Exactness {
  /** Whether each tensor of b is the rounding of a's. */
  readonly exact: boolean;
  /** Whether each tensor of a is the rounding of b's. */
  readonly reversed: boolean;
  /** How many of b are not. */
  readonly others: number;
}

function* exactness(a: DiffView, b: DiffView): Steps<Exactness> {
  const others = yield* notRounded(a.source, b.source);
  const reversed = others > 0 && (yield* notRounded(b.source, a.source)) === 0;
  return { exact: others === 0, reversed, others };
}

function* notRounded(a: TensorSource, b: TensorSource): Steps<number> {
  const cast = castLike(a, b);
  let count = 0;
  for (const info of a.tensors.values()) {
    const other = b.tensors.get(info.key);
    if (other === undefined || !isCast([info, other])) continue;
    const found = yield* compareTensors(cast, b, [cast.tensors.get(info.key)!, other], AS_CAST);
    if (found.length > 0) count += 1;
  }
  return count;
}

function castNotes(cast: (DiffCast & Exactness) | null, afterCast: boolean): string[] {
  if (cast === null) return afterCast ? ["--after-cast: both sides have the same element types, nothing was cast"] : [];
  const { types, asked, exact, reversed, others } = cast;
  if (reversed) return [`a is exactly the rounding of b: give them the other way round with --after-cast`];
  if (asked) return [];
  return exact
    ? [
        `b is exactly the rounding of a, bit for bit: ${castWords(types)}; if that cast was asked for, give --after-cast`,
      ]
    : [
        `not a cast alone: ${others} of these are not the rounding of a: ${castWords(types)}; --after-cast names what remains`,
      ];
}
