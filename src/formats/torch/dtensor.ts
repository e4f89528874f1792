// A DTensor in a pickle: `_rebuild_from_type_v2(_rebuild_wrapper_subclass, DTensor, (DTensor, dtype, shape, …), (None, {
// "_local_tensor": …, "_spec": DTensorSpec }))`. FSDP2, and FSDP1 on a mesh of devices, save such.
// Source: pytorch/pytorch@v2.4.1 and v2.13.0:torch/distributed/(_)tensor/, torch/_utils.py (`_rebuild_wrapper_subclass`)
import { type Refusal, refuse, type Where } from "../io/refuse.ts";
import { isSize, isSizes, isTuple, kindOf, PickleObject, type PickleValue } from "../pickle/value.ts";
import { type Mesh, meshOf } from "./device-mesh.ts";
import { localPart, type MeshDim, MOST_PIECES, type Placement } from "./placements.ts";
import type { RankPart } from "./rank-part.ts";
import { tensorView } from "./rebuild.ts";
import { fieldsOf, isOfClass, isTensor } from "./tensor-types.ts";

/** Modules of torch.distributed that DTensor and its parts have lived in, from 2.0 to 2.13. */
const MODULES = [
  "torch.distributed._tensor",
  "torch.distributed._tensor.api",
  "torch.distributed._tensor.placement_types",
  "torch.distributed._tensor._dtensor_spec",
  "torch.distributed.tensor",
  "torch.distributed.tensor._api",
  "torch.distributed.tensor.placement_types",
  "torch.distributed.tensor._dtensor_spec",
];

const named = (name: string): ReadonlySet<string> => new Set(MODULES.map((module) => `${module} ${name}`));

const DTENSOR = named("DTensor");
const SPEC = named("DTensorSpec");
const SHARD = named("Shard");
const STRIDED_SHARD = named("_StridedShard");
const REPLICATE = named("Replicate");
const ORDER = named("ShardOrderEntry");

type Fail = (what: string, details?: Refusal) => Error;

export const isDTensor = (tensor: PickleObject): boolean => isOfClass(tensor, (name) => DTENSOR.has(name));

/** @throws InputError for a placement that no joining undoes, and for a DTensor that contradicts itself */
export function dtensorPart(tensor: PickleObject, where: Where): RankPart {
  const [, , args, state] = tensor.args;
  const fail: Fail = (what, details) => refuse(where, "DTENSOR_PICKLE", what, details);
  const fields = fieldsOf(state);
  const [local, spec] = [fields?.get("_local_tensor"), fields?.get("_spec")];
  const shape = isTuple(args) ? args[2] : undefined;
  if (!(isObjectOf(local) && isTensor(local) && isObjectOf(spec) && SPEC.has(spec.global) && isSizes(shape)))
    throw fail("its pickle is not that of a DTensor: a shape, a local tensor and a spec");
  const mesh = meshOf(spec.field("mesh"));
  if (mesh === null) throw fail("its mesh of ranks is written in a way that is not known here");
  const placements = placementsOf(spec, mesh, shape, where, fail);
  const view = tensorView(local, where);
  const { boxes, shape: held } =
    mesh.coordinate === null
      ? { boxes: [], shape: view.shape }
      : localPart(shape, dimsOf(mesh, mesh.coordinate, placements, orderOf(spec, placements, fail)));
  if (`${held}` !== `${view.shape}` && !(held.includes(0) && view.shape.includes(0))) {
    throw fail("the part that this rank saved has another shape than its placement gives", {
      expected: `[${held}]`,
      found: `[${view.shape}]`,
      help: SAVE_WHOLE,
    });
  }
  return {
    dtype: view.dtype,
    shape,
    pieces: boxes.filter(({ sizes }) => !sizes.includes(0)).map((box) => ({ view, box })),
    spread: `[${placements.map(placementText).join(", ")}] on a mesh of [${mesh.sizes}]`,
    rank: mesh.rank,
    holders: mesh.ranks,
    world: null,
  };
}

const SAVE_WHOLE = "save it with torch.distributed.checkpoint, or call .full_tensor() before torch.save";

const isObjectOf = (value: PickleValue | undefined): value is PickleObject => value instanceof PickleObject;

function placementsOf(spec: PickleObject, mesh: Mesh, shape: readonly number[], where: Where, fail: Fail): Placement[] {
  const placements = spec.field("placements");
  if (!isTuple(placements) || placements.length !== mesh.sizes.length)
    throw fail(`its placements are not one for each of the ${mesh.sizes.length} dims of its mesh`);
  return placements.map((value) => {
    const placement = placementOf(value);
    if (placement === null) throw notJoined(value, where);
    if (placement.kind !== "replicate" && placement.dim >= shape.length)
      throw fail(`it is cut along dim ${placement.dim} of ${shape.length}`);
    return placement;
  });
}

function placementOf(value: PickleValue): Placement | null {
  if (!isObjectOf(value)) return null;
  if (REPLICATE.has(value.global)) return { kind: "replicate" };
  const dim = argument(value, 0, "dim");
  if (!isSize(dim)) return null;
  if (SHARD.has(value.global)) return { kind: "shard", dim };
  const splitFactor = argument(value, 1, "split_factor");
  return STRIDED_SHARD.has(value.global) && isSize(splitFactor) && splitFactor > 0 && splitFactor <= MOST_PIECES
    ? { kind: "strided", dim, splitFactor }
    : null;
}

/** Of a placement, whether it was made with arguments or given a state. */
const argument = ({ args, state }: PickleObject, at: number, name: string): PickleValue | undefined =>
  fieldsOf(state)?.get(name) ?? args[at];

function notJoined(placement: PickleValue, where: Where) {
  const kind = kindOf(placement);
  const isPartial = /\b_?\w*Partial$/.test(kind);
  return refuse(where, "PLACEMENT_UNSUPPORTED", `is placed as ${kind}, which is not joined here`, {
    expected: "Shard, _StridedShard or Replicate",
    found: kind,
    help: isPartial
      ? "each rank holds a summand of it: redistribute it to Replicate() or Shard(dim) in torch, and save it again"
      : SAVE_WHOLE,
  });
}

/** Dims of the mesh in the order in which they cut: from left to right, unless the spec says otherwise. */
function orderOf(spec: PickleObject, placements: readonly Placement[], fail: Fail): readonly number[] {
  const given = spec.field("shard_order");
  const plain = placements.map((_, dim) => dim);
  if (!isTuple(given)) return plain;
  const cutting: number[] = given.flatMap((entry) => {
    const dims = isObjectOf(entry) && ORDER.has(entry.global) ? argument(entry, 1, "mesh_dims") : undefined;
    if (!isSizes(dims) || dims.some((dim) => placements[dim]?.kind !== "shard"))
      throw fail("its shard_order is written in a way that is not known here");
    return [...dims];
  });
  const rest = plain.filter((dim) => !cutting.includes(dim));
  return [...cutting, ...rest];
}

const dimsOf = (
  { sizes }: Mesh,
  coordinate: readonly number[],
  placements: readonly Placement[],
  order: readonly number[],
): MeshDim[] => order.map((dim) => ({ size: sizes[dim]!, coordinate: coordinate[dim]!, placement: placements[dim]! }));

function placementText(placement: Placement): string {
  switch (placement.kind) {
    case "replicate":
      return "Replicate()";
    case "shard":
      return `Shard(${placement.dim})`;
    case "strided":
      return `_StridedShard(${placement.dim}, ${placement.splitFactor})`;
    default:
      throw placement satisfies never;
  }
}
