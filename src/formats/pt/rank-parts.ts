// A model in the files of its ranks: each holds its part of every tensor and says which one, so that no table is asked how
// they join. FSDP2 saves DTensors so, FSDP1 ShardedTensors; what is not spread is in every file, and the same in all.
import { byteLengthOf } from "../../base/dtype.ts";
import type { Checkpoint, OtherEntry } from "../checkpoint.ts";
import { type Folder, inFolder, type Location, OpenFiles } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { PickleObject } from "../pickle/value.ts";
import { joinPieces, type Piece, type PiecedTensor } from "../pieces.ts";
import type { LocalBox } from "../torch/placements.ts";
import type { RankPart } from "../torch/rank-part.ts";
import { tensorView } from "../torch/rebuild.ts";
import { rankPart } from "../torch/spread.ts";
import type { StridedRecord } from "../torch/strided.ts";
import { NO_CHECKSUMS } from "../zip/reader.ts";
import type { Path } from "./flatten.ts";
import { readTorchObject } from "./object.ts";
import { checkRanks, type RankFile, type SpreadAs } from "./rank-faults.ts";
import { type RankSet, rankSetBeside } from "./rank-names.ts";
import { Storages } from "./stored-tensors.ts";

/** Folders that trainers put config and tokenizer into, beside the files of the ranks. */
const COMPANIONS = ["huggingface"];

/**
 * The files of one save as one checkpoint; null where no tensor in them is spread over ranks.
 * @throws InputError RANK_MISSING, RANK_ALONE, RANK_TWICE, RANK_FOREIGN, RANKS_DIFFER, and what opening a file throws
 */
export function openRankParts(folder: Folder, set: RankSet): Checkpoint | null {
  return open({ path: folder.path, folder, file: null }, set);
}

/** One file by its path: whole where it holds all of each tensor. Throws as `openRankParts`. */
export function openRankPart(location: Location, name: string): Checkpoint {
  const set = rankSetBeside(location.folder, name);
  const rank = set?.files.find((other) => other.name === name)?.rank ?? null;
  const files = [{ name, rank }];
  const joined = open(location, { files, world: set?.world ?? null, nameOf: set?.nameOf ?? null });
  if (joined !== null) return joined;
  throw new RangeError(`no tensor of ${location.path} is spread`);
}

/** What is known of the files to be joined. */
interface Asked {
  readonly files: readonly { readonly name: string; readonly rank: number | null }[];
  readonly world: number | null;
  readonly nameOf: ((rank: number) => string) | null;
}

function open(location: Location, asked: Asked): Checkpoint | null {
  const { folder, path } = location;
  const opened = new OpenFiles(folder);
  folder.expect?.(asked.files.map(({ name }) => name));
  try {
    const files = asked.files.map(({ name, rank }) => openRank(folder, name, rank, opened));
    if (!files.some(({ parts }) => [...parts.values()].some(({ isSpread }) => isSpread))) {
      opened.close();
      return null;
    }
    checkRanks(location, files, asked);
    const isChecked = files.every((file) => file.isChecked);
    return joinPieces({
      path,
      folder,
      files: files.map(({ name }) => name),
      format: "pt",
      tensors: tensorsOf(files),
      others: othersOf(files),
      paths: new Map(files.flatMap(({ paths }) => [...paths])),
      ...companionsIn(folder),
      savedBy: files.length,
      opened,
      notChecked: () => (isChecked ? null : NO_CHECKSUMS),
    });
  } catch (error) {
    opened.close();
    throw error;
  }
}

function companionsIn(folder: Folder): Pick<Checkpoint, "companions"> {
  const name = COMPANIONS.find((each) => folder.kind(each) === "folder");
  return name === undefined ? {} : { companions: folder.folder(name) };
}

/** What is kept of a file: its pickle, some kilobytes a tensor, is not. */
interface OpenRank extends RankFile {
  readonly pieces: ReadonlyMap<string, readonly Piece[]>;
  readonly others: readonly OtherEntry[];
  readonly paths: ReadonlyMap<string, Path>;
  /** Whether its data have a CRC-32, or are of a format that never has. */
  readonly isChecked: boolean;
}

function openRank(folder: Folder, name: string, rank: number | null, opened: OpenFiles): OpenRank {
  const { path } = inFolder(folder, name);
  const { flat, storage, isZip } = readTorchObject(opened.open(name, path), { file: path });
  const storages = new Storages(storage);
  const parts = new Map<string, SpreadAs>();
  const pieces = new Map<string, readonly Piece[]>();
  for (const [key, tensor] of flat.tensors) {
    const where: Where = { file: path, tensor: key };
    const { pieces: own, ...part } = partOf(tensor, where);
    refuseUncountable(part, where);
    parts.set(key, part);
    pieces.set(
      key,
      own.map(({ view, box }) => pieceOf(name, storages.view(view, where), box)),
    );
  }
  const isChecked = !isZip || storages.hasChecksums;
  return { name, path, rank, parts, pieces, others: flat.others, paths: flat.paths, isChecked };
}

function pieceOf(file: string, { record, offset, strides }: StridedRecord, { offsets, sizes, from }: LocalBox): Piece {
  const begin = from.reduce((sum, at, axis) => sum + at * strides[axis]!, offset);
  const strided = { record, offset: begin, strides };
  return { file, offsets, sizes, open: () => strided };
}

function partOf(tensor: PickleObject, where: Where): RankPart & { readonly isSpread: boolean } {
  const spread = rankPart(tensor, where);
  if (spread !== null) return { ...spread, isSpread: true };
  const view = tensorView(tensor, where);
  const { dtype, shape } = view;
  const none = shape.map(() => 0);
  const pieces = shape.includes(0) ? [] : [{ view, box: { offsets: none, sizes: shape, from: none } }];
  return { dtype, shape, pieces, spread: "whole in each file", rank: null, holders: [], world: null, isSpread: false };
}

/** A whole of which a file holds but a part may be said to be of any size. */
function refuseUncountable({ dtype, shape }: Pick<RankPart, "dtype" | "shape">, where: Where): void {
  if (shape.includes(0) || Number.isSafeInteger(byteLengthOf(dtype, shape))) return;
  throw refuse(where, "RANK_SHAPE", "has more elements than can be counted", { found: `${dtype} [${shape}]` });
}

function tensorsOf(files: readonly OpenRank[]): Map<string, PiecedTensor> {
  const tensors = new Map<string, PiecedTensor & { readonly pieces: Piece[] }>();
  for (const { parts, pieces } of files) {
    for (const [key, { dtype, shape }] of parts) {
      const tensor = tensors.get(key) ?? { dtype, shape, pieces: [] };
      tensors.set(key, tensor);
      tensor.pieces.push(...(pieces.get(key) ?? []));
    }
  }
  return tensors;
}

/** What is no tensor, once by its name. */
const othersOf = (files: readonly OpenRank[]): OtherEntry[] => [
  ...new Map(files.flatMap(({ others }) => others).map((entry) => [entry.key, entry])).values(),
];
