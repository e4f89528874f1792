// A mesh of ranks as DTensors carry it: how many ranks lie along each of its dims, where the rank that saved stands, and who they are.
// Until torch 2.9 the ranks are a tensor (`mesh`) beside the list of them; from 2.10 on a layout of strides over a list.
// Source: pytorch/pytorch@v2.4.1, v2.9.1, v2.13.0:torch/distributed/device_mesh.py, _mesh_layout.py
import { isSize, isSizes, isTuple, PickleList, PickleObject, type PickleValue } from "../pickle/value.ts";
import { rowMajorStrides } from "./strided.ts";
import { plainTensor } from "./tensor-types.ts";

const CLASSES: ReadonlySet<string> = new Set([
  "torch.distributed.device_mesh DeviceMesh",
  "torch.distributed._tensor.device_mesh DeviceMesh",
]);
const LAYOUT = "torch.distributed._mesh_layout _MeshLayout";

export interface Mesh {
  readonly sizes: readonly number[];
  /** Of the rank that saved; null where it is not in the mesh. */
  readonly coordinate: readonly number[] | null;
  /** All that are in it. */
  readonly ranks: readonly number[];
  /** The one that saved. */
  readonly rank: number | null;
}

/** One mesh is that of all tensors. */
const known = new WeakMap<PickleObject, Mesh | null>();

/** Null for what is no mesh. */
export function meshOf(value: PickleValue | undefined): Mesh | null {
  if (!(value instanceof PickleObject) || !CLASSES.has(value.global)) return null;
  const found = known.get(value);
  if (found !== undefined) return found;
  const mesh = parsed(value);
  known.set(value, mesh);
  return mesh;
}

function parsed(value: PickleObject): Mesh | null {
  const grid = gridOf(value);
  if (grid === null) return null;
  const coordinate = sizesIn(value.field("_coordinate_on_dim"));
  const { sizes, list } = grid;
  if (coordinate === null) return { sizes, coordinate, ranks: list, rank: null };
  const fits = coordinate.length === sizes.length && coordinate.every((at, dim) => at < sizes[dim]!);
  if (!fits || product(sizes) > list.length) return null;
  const own = value.field("_rank");
  const base = isSize(own) ? list.indexOf(own) - grid.place(coordinate) : 0;
  const ranks = allCoordinates(sizes).flatMap((at) => list[base + grid.place(at)] ?? []);
  const rank = list[base + grid.place(coordinate)];
  return rank === undefined || ranks.length !== product(sizes) ? null : { sizes, coordinate, ranks, rank };
}

interface Grid {
  readonly sizes: readonly number[];
  /** Ranks; `place` says where in it those of a coordinate stand, but for where the mesh begins. */
  readonly list: readonly number[];
  readonly place: (coordinate: readonly number[]) => number;
}

function gridOf(mesh: PickleObject): Grid | null {
  const layout = mesh.field("_layout");
  if (layout instanceof PickleObject && layout.global === LAYOUT) {
    const list = sizesIn(mesh.field("_flatten_rank_map"));
    const axes = axesOf(layout);
    return (
      list && axes && { list, sizes: axes.map(sizeOf), place: (at) => sum(at.map((n, dim) => placeOn(axes[dim]!, n))) }
    );
  }
  const tensor = mesh.field("mesh");
  const plain = tensor instanceof PickleObject ? plainTensor(tensor) : null;
  const sizes = sizesIn(plain?.args[2]);
  const list = sizesIn(mesh.field("_flatten_mesh_list"));
  if (sizes === null || list === null || list.length !== product(sizes)) return null;
  const strides = rowMajorStrides(sizes);
  return { list, sizes, place: (at) => sum(at.map((n, dim) => n * strides[dim]!)) };
}

/** One dim of a mesh, which may have several strides: where dims that do not touch were made one. */
interface Axis {
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

const sizeOf = ({ shape }: Axis): number => product(shape);

function placeOn({ shape, stride }: Axis, at: number): number {
  let rest = at;
  let place = 0;
  for (let i = shape.length - 1; i >= 0; i--) {
    place += (rest % shape[i]!) * stride[i]!;
    rest = Math.floor(rest / shape[i]!);
  }
  return place;
}

/** `axes`, or `shape` and `stride` with a number or a tuple for each dim. */
function axesOf(layout: PickleObject): Axis[] | null {
  const axes = layout.field("axes");
  if (isTuple(axes)) {
    const all = axes.map((axis) =>
      axis instanceof PickleObject ? axisOf(axis.field("shape"), axis.field("stride")) : null,
    );
    return all.every((axis) => axis !== null) ? all : null;
  }
  const [shape, stride] = [layout.field("shape"), layout.field("stride")];
  if (isSize(shape)) return only(axisOf(shape, stride));
  if (!isTuple(shape) || !isTuple(stride) || shape.length !== stride.length) return null;
  const all = shape.map((each, dim) => axisOf(each, stride[dim]));
  return all.every((axis) => axis !== null) ? all : null;
}

const only = (axis: Axis | null): Axis[] | null => axis && [axis];

function axisOf(shape: PickleValue | undefined, stride: PickleValue | undefined): Axis | null {
  const [sizes, strides] = [isSize(shape) ? [shape] : shape, isSize(stride) ? [stride] : stride];
  return isSizes(sizes) && isSizes(strides) && sizes.length === strides.length
    ? { shape: sizes, stride: strides }
    : null;
}

const sizesIn = (value: PickleValue | undefined): readonly number[] | null => {
  const items = value instanceof PickleList ? value.items : value;
  return isSizes(items) ? items : null;
};

function allCoordinates(sizes: readonly number[]): readonly (readonly number[])[] {
  return sizes.reduce<number[][]>(
    (all, size) => all.flatMap((at) => Array.from({ length: size }, (_, n) => [...at, n])),
    [[]],
  );
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);
const product = (numbers: readonly number[]): number => numbers.reduce((total, n) => total * n, 1);
