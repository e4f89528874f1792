// Where each tensor of the target comes from: the table's plan for the tensors at hand, and the dtypes asked for.

import { type Dtype, elementCount } from "../base/dtype.ts";
import { UsageError } from "../base/errors.ts";
import { nearGlob } from "../base/globs.ts";
import { isSameLayout, type Layout, type Place, RAW } from "../family/layout.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { keysAtFault, mixedDtypes } from "../table/faults/fault.ts";
import { errorOf } from "../table/faults/problems.ts";
import type { Dropped, Move, TablePlan } from "../table/move.ts";
import type { Direction, PlanOptions, Table } from "../table/plan.ts";
import { type DtypeChoice, dtypeChoice } from "./dtypes.ts";
import { type TensorSource, tensorInfo } from "./tensor-source.ts";
import { addingTo } from "./values/adding.ts";

/** A tensor of the target. */
export interface MappedTensor {
  readonly info: TensorInfo;
  readonly move: Move;
  /** Keys of its source tensors. */
  readonly sources: readonly string[];
  /** Set where others are at fault, in a mapping that tolerates it: then only what `sources` hold can be read. */
  readonly partial?: true;
  /** Why a cast of all weights must not round it, and whether it would have: then it keeps its element type. */
  readonly critical?: { readonly reason: string; readonly kept: boolean };
}

/** One step from layout to layout; `source` has the tensors that the moves name. */
export interface Mapping {
  readonly source: TensorSource;
  readonly from: Place;
  readonly to: Place;
  /** Where the tensors stand in a nested state, where no table gave them their names. */
  readonly paths?: Checkpoint["paths"];
  /** In the order of the table, without those of which not even a part is there. */
  readonly tensors: ReadonlyMap<string, MappedTensor>;
  readonly equalities: TablePlan["equalities"];
  readonly dropped: readonly Dropped[];
  readonly spelling: TablePlan["spelling"];
  readonly order: TablePlan["order"];
  readonly orderAt: TablePlan["orderAt"];
  /** Tensors of `source` to whose values something was added: key → how much. */
  readonly plus?: TablePlan["plus"];
  /** Form of the native files that a native source is in. */
  readonly form?: TablePlan["form"];
  /** Parts of the model that the config describes and the HF side does not have. */
  readonly absent?: TablePlan["absent"];
  /** What is wrong with the source; only where that was to be tolerated. */
  readonly faults?: TablePlan["faults"];
  /** Aliases that `hf` can have, by canonical key, and whether this source has them; empty from other layouts. */
  readonly aliases: ReadonlyMap<string, boolean>;
}

export interface MappingOptions extends PlanOptions {
  /** Those of the source unless given. */
  readonly dtypes?: DtypeChoice;
}

/** A plan, and the aliases that the source's side can have. */
export interface Planned extends TablePlan, Pick<Mapping, "aliases"> {
  /** Of one that stays within a layout: what the table made for it, to the other layout. */
  readonly across?: Planned;
}

type Way = readonly [from: Layout, to: Layout];

/**
 * From one layout of a table to the other; within one layout, tensor by tensor. Throws what a table's plan throws, and
 * MIXED_DTYPES where the tensors that one is made of would have several.
 */
export function mapByTable(
  table: Table,
  source: TensorSource,
  way: Way,
  { dtypes, ...options }: MappingOptions = {},
): Mapping {
  return mapped(source, way, planned(table, source, way, options), dtypes);
}

/** In which direction of a table tensors of a layout go. */
export const directionFrom = ({ side }: Layout): Direction => (side === "hf" ? "fromHf" : "toHf");

/** Throws what a table's plan throws. */
export function planned(table: Table, source: TensorSource, [from, to]: Way, options: PlanOptions): Planned {
  if (isSameLayout(from, to)) return sameLayout(table, source, from, options);
  if (from.side === to.side) throw new RangeError(`no table leads from ${from.name} to ${to.name} directly`);
  return across(table, source, from, options);
}

function across(table: Table, source: TensorSource, from: Layout, options: PlanOptions): Planned {
  const plan = table.plan(directionFrom(from), source.tensors, options);
  const aliases = from.side === "hf" ? table.aliases("hf") : table.aliases("native", source.tensors);
  const present = new Set(plan.equalities.map(({ alias }) => alias));
  const has = (key: string) => present.has(plan.spelling.get(key) ?? key);
  return { ...plan, aliases: new Map(aliases.map((key) => [key, has(key)])) };
}

const KEEP = dtypeChoice([]);

/** What a plan makes of the source. Throws InputError MIXED_DTYPES. */
export function mapped(source: TensorSource, [from, to]: Way, plan: Planned, dtypes: DtypeChoice = KEEP): Mapping {
  const tensors = new Map<string, MappedTensor>();
  const atFault = keysAtFault(plan.faults);
  for (const move of plan.moves) {
    const all = sourcesOf(move);
    const sources = atFault.size === 0 ? all : all.filter((key) => !atFault.has(key));
    if (sources.length === 0 && all.length > 0) continue;
    const reason = sources.map((key) => plan.critical.get(key)).find((why) => why !== undefined);
    const chosen = (critical: boolean) => targetDtype(move, sources, source, dtypes, critical);
    const dtype = chosen(reason !== undefined);
    const critical = reason === undefined ? {} : { critical: { reason, kept: dtype !== chosen(false) } };
    const partial = sources.length < all.length ? ({ partial: true } as const) : {};
    tensors.set(move.key, { info: tensorInfo(move.key, dtype, move.shape), move, sources, ...critical, ...partial });
  }
  return { source: addingTo(unrounded(source, tensors), plan.plus), from, to, ...plan, tensors };
}

/** Keys of the tensors that one is made of. */
function sourcesOf({ pieces }: Move): readonly string[] {
  const [first] = pieces;
  if (first === undefined) return [];
  return pieces.length === 1 ? [first.source] : [...new Set(pieces.map(({ source }) => source))];
}

/** Decoded tensors that are cast are not rounded to what their config declares first. */
function unrounded(source: TensorSource, tensors: Mapping["tensors"]): TensorSource {
  const isCast = (key: string, dtype: Dtype) => {
    const from = source.tensors.get(key);
    return from?.encoding !== undefined && from.dtype !== dtype;
  };
  const keys = [...tensors.values()].flatMap(({ info, sources }) => sources.filter((key) => isCast(key, info.dtype)));
  return keys.length === 0 ? source : (source.unrounded?.(new Set(keys)) ?? source);
}

/** The table still checks that every tensor is known; what it would drop, refuse or re-create is left as it is. */
function sameLayout(table: Table, source: TensorSource, layout: Layout, options: PlanOptions): Planned {
  const plan = across(table, source, layout, {
    ...options,
    allowDrop: (key) => options.allowDrop?.(key) === true || table.refuses(layout.side, key),
    mixedDtypes: true,
  });
  const { dropped, equalities, critical, faults } = plan;
  const waived = new Set(dropped.filter(({ key }) => options.allowDrop?.(key)).map(({ key }) => key));
  const moves = [...source.tensors.values()].filter(({ key }) => !waived.has(key)).map((info) => wholeMove(info));
  const lost = dropped.filter(({ key }) => waived.has(key));
  return {
    moves,
    equalities,
    dropped: lost,
    spelling: new Map(),
    order: null,
    orderAt: [],
    form: plan.form,
    critical,
    plus: new Map(),
    absent: [],
    faults,
    aliases: new Map(),
    across: plan,
  };
}

/** A tensor as it is. */
export const wholeMove = (info: TensorInfo, rule = "copy"): Move => new WholeMove(info, rule);

/** Its piece is made when it is asked for: a large model has tens of thousands of them. */
class WholeMove implements Move {
  readonly key: string;
  readonly shape: readonly number[];
  readonly rule: string;

  constructor({ key, shape }: TensorInfo, rule: string) {
    this.key = key;
    this.shape = shape;
    this.rule = rule;
  }

  get pieces(): Move["pieces"] {
    const elements = elementCount(this.shape);
    if (elements === 0) return [];
    const [sizes, strides] = [[elements], [1]];
    return [
      { source: this.key, sourceOffset: 0, targetOffset: 0, sizes, sourceStrides: strides, targetStrides: strides },
    ];
  }
}

function targetDtype(
  move: Move,
  sources: readonly string[],
  source: TensorSource,
  choose: DtypeChoice,
  critical: boolean,
): Dtype {
  if (move.fill !== undefined) return move.fill.dtype;
  const names = [move.key, ...sources];
  const chosen = sources.map((key) => choose(names, source.tensors.get(key)!.dtype, critical));
  const [first = choose(names, "F32"), ...others] = chosen;
  const odd = others.findIndex((dtype) => dtype !== first);
  if (odd < 0) return first;
  const fault = mixedDtypes(move.key, [`${sources[0]}`, first], [`${sources[odd + 1]}`, `${others[odd]}`]);
  throw errorOf(fault, [fault]);
}

/** Throws UsageError where a glob of --dtype matched no tensor. */
export function checkGlobs(dtypes: DtypeChoice, { source, tensors }: Mapping): void {
  const [glob] = dtypes.unmatched();
  if (glob === undefined) return;
  const near = nearGlob(glob.slice(0, glob.lastIndexOf("=")), [...source.tensors.keys(), ...tensors.keys()]);
  throw new UsageError("DTYPE_GLOB_UNMATCHED", `--dtype ${glob}: no tensor matches`, {
    found: glob,
    help: `write a pattern over keys of source or target, as \`plan\` lists them${near === undefined ? "" : `; the nearest is "${near}"`}`,
  });
}

/** Every tensor as it is, by the keys of its files: for another container alone. */
export const mapAsIs = (source: TensorSource, paths: Mapping["paths"]): Mapping => ({
  source,
  from: RAW,
  to: RAW,
  tensors: new Map(
    [...source.tensors.values()].map((info) => [info.key, { info, move: wholeMove(info), sources: [info.key] }]),
  ),
  equalities: [],
  dropped: [],
  spelling: new Map(),
  order: null,
  orderAt: [],
  aliases: new Map(),
  ...(paths === undefined ? {} : { paths }),
});
