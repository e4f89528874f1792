// Where each parameter lies in the flat tensors of the ranks, as zero_to_fp32 puts them together. Nothing is kept for a rank and
// a parameter: there are tens of millions of such pairs in a large run.
// Source: deepspeedai/DeepSpeed@v0.19.8:deepspeed/utils/zero_to_fp32.py (`_zero2_merge_trainable_params`,
// `_zero3_merge_trainable_params`, `zero3_partitioned_param_info`)
import { elementCount } from "../../base/dtype.ts";
import { refuse } from "../io/refuse.ts";
import type { FileTensor, OptimizerStates, Shapes } from "./states.ts";

/** Elements that stand together in a parameter and in one flat tensor; or bytes of them. */
export interface Run {
  readonly rank: number;
  readonly group: number;
  /** Where it begins in the rank's part of the group. */
  readonly from: number;
  readonly count: number;
}

export interface Partitioned {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of the optimizer, the one whose state is its. */
  readonly group: number;
  /**
   * What makes up [begin, end) of it, in order.
   * @param unit 1 for elements; bytes of an element for bytes
   */
  runs(begin: number, end: number, unit: number): Iterable<Run>;
}

/**
 * All parameters that the optimizer has, in its order.
 * @param states of all ranks, in their order
 * @throws InputError PARTITION_SIZE where the flat tensors are not as long as the parameters ask for, PARTITION_DIFFERS where a
 * rank's own record says otherwise
 */
export function partitioned(shapes: readonly Shapes[], states: readonly OptimizerStates[]): Partitioned[] {
  const [first] = states;
  if (first === undefined) return [];
  const found = first.cuts === "groups" ? cutByGroups(shapes, states) : cutByParameters(shapes, states);
  checkSlices(found, states);
  return found;
}

/** The parts of a group in the order of the ranks are its flat tensor; parameters lie in it one after the other. */
function cutByGroups(shapes: readonly Shapes[], states: readonly OptimizerStates[]): Partitioned[] {
  const other = states.find(({ masters }) => masters.length !== shapes.length);
  if (other !== undefined)
    throw wrongSize(other.file.where.file, `${shapes.length} groups, by param_shapes`, `${other.masters.length}`);
  return shapes.flatMap((parameters, group) => {
    const starts = startsOf(states.map(({ masters }) => lengthOf(masters[group])));
    const gaps = states[0]?.gaps?.[group];
    let end = 0;
    const found = [...parameters].map(([name, shape], i): Partitioned => {
      const at = end;
      end += elementCount(shape) + (gaps?.[i] ?? 0);
      return {
        name,
        shape,
        group,
        *runs(begin, last, unit) {
          for (const { part, ...run } of within(starts, at * unit + begin, at * unit + last, unit))
            yield { ...run, rank: part, group };
        },
      };
    });
    checkPadding(end, starts.at(-1)!, group, states);
    return found;
  });
}

/** Each rank has an equal share of each parameter, the last one padded; a rank's groups are one sequence of shares. */
function cutByParameters(shapes: readonly Shapes[], states: readonly OptimizerStates[]): Partitioned[] {
  const lengths = (states[0]?.masters ?? []).map(lengthOf);
  for (const { file, masters } of states) {
    const own = masters.map(lengthOf);
    if (`${own}` !== `${lengths}`) throw wrongSize(file.where.file, `${lengths} elements, as rank 0 has`, `${own}`);
  }
  const starts = startsOf(lengths);
  let end = 0;
  const found = shapes
    .flatMap((group) => [...group])
    .map(([name, shape]): Partitioned => {
      const at = end;
      const share = Math.ceil(elementCount(shape) / states.length);
      end += share;
      const [{ part: group = 0 } = {}] = within(starts, at, at + share, 1);
      return {
        name,
        shape,
        group,
        runs: (begin, last, unit) => sharesOf(starts, at * unit, share * unit, begin, last, unit),
      };
    });
  const had = starts.at(-1)!;
  if (end !== had) throw wrongSize(states[0]!.file.where.file, `${end} elements, by param_shapes`, `${had}`);
  return found;
}

function* sharesOf(
  starts: readonly number[],
  at: number,
  share: number,
  begin: number,
  end: number,
  unit: number,
): Generator<Run> {
  for (let done = begin; done < end; ) {
    const rank = Math.floor(done / share);
    const last = Math.min(end, (rank + 1) * share);
    const from = at - rank * share;
    for (const { part, ...run } of within(starts, from + done, from + last, unit)) yield { ...run, rank, group: part };
    done = last;
  }
}

const lengthOf = (tensor: FileTensor | undefined): number => elementCount(tensor?.shape ?? [0]);

/** Where each part begins in all of them in a row, and where the last one ends. */
function startsOf(lengths: readonly number[]): number[] {
  const starts = [0];
  for (const length of lengths) starts.push(starts.at(-1)! + length);
  return starts;
}

/** [begin, end) of parts that stand one after the other. */
function* within(starts: readonly number[], begin: number, end: number, unit: number) {
  let [low, high] = [0, starts.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle + 1]! * unit <= begin) low = middle + 1;
    else high = middle;
  }
  for (let part = low; part + 1 < starts.length; part += 1) {
    const [first, last] = [starts[part]! * unit, starts[part + 1]! * unit];
    if (first >= end) return;
    const [from, to] = [Math.max(begin, first), Math.min(end, last)];
    if (from < to) yield { part, from: from - first, count: to - from };
  }
}

/** A group is padded to a multiple of twice the ranks, and some versions save it without. */
function checkPadding(used: number, had: number, group: number, states: readonly OptimizerStates[]): void {
  const align = 2 * states.length;
  const padded = (count: number) => Math.ceil(count / align) * align;
  if (used <= had && padded(used) === padded(had)) return;
  const expected = `${used} elements in group ${group} of all ranks, by param_shapes, and fewer than ${align} of padding`;
  throw wrongSize(states[0]!.file.where.file, expected, `${had}`);
}

const wrongSize = (file: string, expected: string, found: string) =>
  refuse({ file }, "PARTITION_SIZE", "the f32 weights of the ranks are not as many as the parameters have", {
    expected,
    found,
    help: "the files are of different saves, or some are damaged: copy the folder of the step again",
  });

/** Newer versions note in each rank's file which parameters lie where. */
function checkSlices(found: readonly Partitioned[], states: readonly OptimizerStates[]): void {
  const noted = states.map(({ slices }) =>
    slices === null
      ? null
      : new Map(slices.flatMap((group, g) => [...group].map(([name, at]) => [`${g} ${name}`, at] as const))),
  );
  if (noted.every((each) => each === null)) return;
  for (const { name, shape, runs } of found) {
    for (const run of runs(0, elementCount(shape), 1)) {
      const own = noted[run.rank];
      const slice = own?.get(`${run.group} ${name}`);
      own?.delete(`${run.group} ${name}`);
      const isSame = own === null || (slice?.from === run.from && slice.count === run.count);
      if (!isSame) throw sliceDiffers(states[run.rank]!, name, run, slice);
    }
  }
  for (const [rank, own] of noted.entries()) {
    const [unused] = [...(own ?? [])].filter(([, { count }]) => count > 0);
    if (unused !== undefined) throw sliceDiffers(states[rank]!, unused[0].replace(/^\d+ /, ""), undefined, unused[1]);
  }
}

type Slice = Pick<Run, "from" | "count"> | undefined;

function sliceDiffers({ file }: OptimizerStates, tensor: string, expected: Slice, found: Slice) {
  const shown = (slice: Slice) =>
    slice === undefined ? "none of it" : `${slice.count} elements from ${slice.from} on`;
  const what = "the rank's own record of its partition is another than the parameters give";
  return refuse({ file: file.where.file, tensor }, "PARTITION_DIFFERS", what, {
    expected: shown(expected),
    found: shown(found),
    help: "the files are of different saves: copy the folder of the step again",
  });
}
