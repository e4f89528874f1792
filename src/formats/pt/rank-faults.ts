// Whether files of ranks are those of one save, all of them: what each says of itself against its name and the others.
import { InputError } from "../../base/errors.ts";
import type { Location } from "../io/folder.ts";
import type { RankPart } from "../torch/rank-part.ts";
import { rankTwice } from "./rank-names.ts";

/** What a file says of a tensor. */
export interface SpreadAs extends Omit<RankPart, "pieces"> {
  readonly isSpread: boolean;
}

export interface RankFile {
  readonly name: string;
  readonly path: string;
  /** By its name; null where that has none. */
  readonly rank: number | null;
  readonly parts: ReadonlyMap<string, SpreadAs>;
}

/** What the names say. */
export interface Named {
  readonly world: number | null;
  readonly nameOf: ((rank: number) => string) | null;
}

/** @throws InputError RANK_FOREIGN, RANK_TWICE, RANK_MISSING, RANK_ALONE, RANKS_DIFFER */
export function checkRanks(location: Location, files: readonly RankFile[], named: Named): void {
  const saved = files.map((file) => ({ file, told: toldOf(file) }));
  for (const { file, told } of saved) checkOwn(file, told, named, saved);
  checkAll(location, saved, named);
  for (const key of new Set(files.flatMap(({ parts }) => [...parts.keys()]))) checkKey(key, saved);
}

/** What the tensors of a file say of the rank that saved it. */
interface Told {
  readonly rank: number | null;
  /** All ranks that they name. */
  readonly ranks: ReadonlySet<number>;
  readonly world: number | null;
}

interface Saved {
  readonly file: RankFile;
  readonly told: Told;
}

function toldOf({ parts }: RankFile): Told {
  let [rank, world]: (number | null)[] = [null, null];
  const ranks = new Set<number>();
  for (const part of parts.values()) {
    rank ??= part.rank;
    world ??= part.world;
    for (const holder of part.holders) ranks.add(holder);
  }
  return { rank: rank ?? null, world: world ?? null, ranks };
}

const rankOf = ({ file, told }: Saved): number | null => file.rank ?? told.rank;

/** The name of a file against its content. */
function checkOwn(file: RankFile, told: Told, { world }: Named, all: readonly Saved[]): void {
  const most = Math.max(-1, ...told.ranks, (told.world ?? 0) - 1);
  if (world !== null && (most >= world || (file.rank ?? 0) >= world)) {
    throw foreign(
      file,
      `is of a save by more than ${world} ranks`,
      `ranks 0 to ${world - 1}`,
      `rank ${Math.max(most, file.rank ?? 0)}`,
    );
  }
  if (file.rank === null || told.rank === null || told.rank === file.rank) return;
  const original = all.find(
    (other) => other.file !== file && other.file.rank === told.rank && other.told.rank === told.rank,
  );
  if (original !== undefined) throw rankTwice(file.path, told.rank, original.file.name, file.name);
  throw foreign(file, `was saved by rank ${told.rank}`, `rank ${file.rank}, as its name says`, `rank ${told.rank}`);
}

const foreign = (file: RankFile, what: string, expected: string, found: string): InputError =>
  new InputError("RANK_FOREIGN", `${file.path}: ${what}`, {
    file: file.path,
    expected,
    found,
    help: "it is of another save, or was renamed: copy the files of all ranks again from where they were saved",
  });

/** Whether all ranks are there that the names or the tensors ask for. */
function checkAll({ path, folder, file: asked }: Location, saved: readonly Saved[], { world, nameOf }: Named): void {
  const present = new Set(saved.map(rankOf));
  const told = saved.flatMap((each) => [...each.told.ranks, ...range(each.told.world ?? 0)]);
  const expected = [...new Set([...range(world ?? 0), ...told])].sort((a, b) => a - b);
  const missing = expected.filter((rank) => !present.has(rank));
  const [first] = missing;
  if (first === undefined) return;
  const { name } = saved[0]!.file;
  if (asked !== null) {
    const all = nameOf === null ? "in one folder, named by rank: model_rank_0.pt, model_rank_1.pt, …" : folder.path;
    throw new InputError(
      "RANK_ALONE",
      `${path}: one of ${expected.length} ranks, each of which holds a part of the model`,
      {
        file: path,
        expected: "the files of all ranks",
        found: name,
        help:
          nameOf === null ? `put the files of all ranks ${all}; then give the folder` : `give the directory, ${all}`,
      },
    );
  }
  const wanted = nameOf?.(first) ?? `the file of rank ${first}`;
  throw new InputError("RANK_MISSING", `${folder.pathOf(wanted)}: this rank of the model is missing`, {
    file: folder.pathOf(wanted),
    expected: `${missing
      .slice(0, SHOWN)
      .map((rank) => nameOf?.(rank) ?? `rank ${rank}`)
      .join(", ")}${missing.length > SHOWN ? `, and ${missing.length - SHOWN} more` : ""}`,
    found: `${saved.length} of ${expected.length} ranks`,
    help: "copy the files of all ranks into one directory: each holds a part of every tensor",
  });
}

const SHOWN = 4;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** A tensor in all files that are to have it, of one dtype and shape, spread in one way. */
function checkKey(key: string, saved: readonly Saved[]): void {
  const holding = saved.filter(({ file }) => file.parts.has(key));
  const [first, ...rest] = holding;
  const part = first?.file.parts.get(key);
  if (first === undefined || part === undefined) return;
  const expected = described(part);
  for (const { file } of rest) {
    const found = described(file.parts.get(key)!);
    if (found !== expected) throw differ(key, first.file, file, expected, found);
  }
  const holders = new Set(holding.flatMap(({ file }) => file.parts.get(key)?.holders ?? []));
  for (const other of saved) {
    const isElsewhere = holders.size > 0 && !holders.has(rankOf(other) ?? -1);
    if (!other.file.parts.has(key) && !isElsewhere)
      throw differ(key, first.file, other.file, expected, "no such tensor");
  }
}

const described = ({ dtype, shape, spread }: SpreadAs): string => `${dtype} [${shape.join(", ")}], ${spread}`;

function differ(tensor: string, first: RankFile, other: RankFile, expected: string, found: string): InputError {
  const message = `${other.path}: "${tensor}" is not as in ${first.name}: expected ${expected}, found ${found}`;
  return new InputError("RANKS_DIFFER", message, {
    tensor,
    file: other.path,
    expected,
    found,
    help: "the files are of different models or saves, or one is damaged: copy all of them again",
  });
}
