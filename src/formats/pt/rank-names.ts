// Files that ranks saved each for itself, by their names: `model_world_size_4_rank_2.pt` of verl and SkyRL, or whatever ends
// in a rank's number.
import { InputError } from "../../base/errors.ts";
import type { Folder } from "../io/folder.ts";

/** A file of a rank. */
export interface RankName {
  readonly name: string;
  readonly rank: number;
}

/** Files of one save. */
export interface RankSet {
  readonly files: readonly RankName[];
  /** How many ranks there were, where the names say so. */
  readonly world: number | null;
  /** As the file of any rank is called. */
  readonly nameOf: (rank: number) => string;
}

const NAME = /^(?<stem>.*?)(?:world_size_(?<world>\d+)_)?rank(?<gap>[_-]?)(?<rank>\d+)(?<end>\.(?:pt|pth|bin|ckpt))$/;
/** What a trainer keeps beside the model, a file a rank: verl's `optim_world_size_2_rank_0.pt`. */
const TRAINERS = /^(?:optim(?:izer)?s?|extra_state|(?:lr_)?scheduler|rng(?:_state)?|scaler|data(?:loader)?)(?:[_.-]|$)/;

interface Parsed extends RankName {
  readonly world: number | null;
  /** The same for all files of a save. */
  readonly save: string;
  readonly nameOf: (rank: number) => string;
}

function parsed(name: string): Parsed | null {
  const { stem = "", world, gap = "", rank = "", end = "" } = NAME.exec(name)?.groups ?? {};
  if (rank === "") return null;
  const lead = world === undefined ? stem : `${stem}world_size_${world}_`;
  return {
    name,
    rank: Number(rank),
    world: world === undefined ? null : Number(world),
    save: `${lead}${end}`,
    nameOf: (other) => `${lead}rank${gap}${String(other).padStart(rank.startsWith("0") ? rank.length : 1, "0")}${end}`,
  };
}

/** Whether a file is a rank's part of a trainer's state, not of the model. */
export const isTrainersRank = (name: string): boolean => TRAINERS.test(name) && parsed(name) !== null;

/**
 * The save that files of a folder are of; null where they are not all of ranks.
 * @throws InputError RANKS_AMBIGUOUS for more than one save, RANK_TWICE for two files of one rank
 */
export function rankSetOf(folder: Folder, names: readonly string[]): RankSet | null {
  const files = names.filter((name) => !isTrainersRank(name)).map(parsed);
  const [first] = files;
  if (first === undefined || first === null) return null;
  const known = files.filter((file) => file !== null);
  if (known.length < files.length) return null;
  const other = known.find(({ save }) => save !== first.save);
  if (other !== undefined) throw twoSaves(folder, first.name, other.name);
  const byRank = known.toSorted((a, b) => a.rank - b.rank);
  const twice = byRank.findIndex(({ rank }, i) => rank === byRank[i + 1]?.rank);
  if (twice >= 0) throw twoFiles(folder, byRank[twice]!, byRank[twice + 1]!);
  return { files: byRank, world: first.world, nameOf: first.nameOf };
}

/** The save that one file is of, with those of its ranks that lie beside it; null for a file of no rank. */
export function rankSetBeside(folder: Folder, name: string): RankSet | null {
  const own = parsed(name);
  if (own === null || isTrainersRank(name)) return null;
  return rankSetOf(
    folder,
    folder.list().filter((other) => parsed(other)?.save === own.save),
  );
}

const twoFiles = (folder: Folder, one: RankName, other: RankName): InputError =>
  rankTwice(folder.pathOf(other.name), one.rank, one.name, other.name);

function twoSaves(folder: Folder, one: string, other: string): InputError {
  const { path } = folder;
  return new InputError("RANKS_AMBIGUOUS", `${path}: holds files of ranks of more than one save: ${one}, ${other}`, {
    file: path,
    expected: "the files of one save",
    found: `${one}, ${other}`,
    help: "put the files of each save into a folder of its own, with its config, and give that of the one you mean",
  });
}

/** @param file path of `other` */
export function rankTwice(file: string, rank: number, one: string, other: string): InputError {
  return new InputError("RANK_TWICE", `${file}: holds what rank ${rank} saved, and so does ${one}`, {
    file,
    expected: "one file a rank",
    found: `${one} and ${other}`,
    help: "one of them is a copy or of another save: copy the files of all ranks again from where they were saved",
  });
}
