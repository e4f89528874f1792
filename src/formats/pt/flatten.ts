// Nested dicts and lists of a `.pt` as flat names: joined with ".", list items by index.
import type { OtherEntry } from "../checkpoint.ts";
import { refuse, type Where } from "../io/refuse.ts";
import {
  isTuple,
  kindOf,
  PickleDict,
  PickleList,
  type PickleObject,
  PicklePersistent,
  type PickleValue,
} from "../pickle/value.ts";
import { isTensor } from "../torch/rebuild.ts";

type Path = readonly (string | number)[];

export interface Flattened {
  readonly tensors: ReadonlyMap<string, PickleObject>;
  readonly others: readonly OtherEntry[];
  readonly paths: ReadonlyMap<string, Path>;
}

/** Levels of dicts and lists; trainers need fewer than ten. */
const DEPTH_LIMIT = 100;
/** The name of a file's only tensor, where it stands in no dict. */
const BARE = "tensor";

/**
 * @param budget most values to visit: what a pickle of this many bytes can hold unless it repeats itself
 * @throws InputError for nesting or repetition beyond measure, and for two values of one name
 */
export function flatten(root: PickleValue, budget: number, where: Where): Flattened {
  const walk = new Walk(budget, where);
  walk.visit(root, []);
  return walk;
}

class Walk implements Flattened {
  readonly tensors = new Map<string, PickleObject>();
  readonly paths = new Map<string, Path>();
  readonly others: OtherEntry[] = [];
  private visits = 0;

  constructor(
    private readonly budget: number,
    private readonly where: Where,
  ) {}

  visit(value: PickleValue, path: Path): void {
    if (++this.visits > this.budget) {
      throw refuse(this.where, "PICKLE_EXPANSION", "the pickle repeats its parts until they outgrow the file");
    }
    if (path.length > DEPTH_LIMIT) {
      throw refuse(this.where, "PICKLE_NESTING", `its dicts and lists are nested more than ${DEPTH_LIMIT} deep`);
    }
    if (isTensor(value)) this.add(value, path);
    else if (value instanceof PickleDict && value.items.length > 0) {
      for (const [key, item] of value.entries()) this.visit(item, [...path, this.keyOf(key, path)]);
    } else if (value instanceof PickleList) this.visitList(value, value.items, path);
    else if (isTuple(value)) this.visitList(value, value, path);
    else this.addOther(value, path);
  }

  /** A list without tensors is one entry. */
  private visitList(list: PickleValue, items: readonly PickleValue[], path: Path): void {
    const [tensors, others] = [this.tensors.size, this.others.length];
    for (const [i, item] of items.entries()) this.visit(item, [...path, i]);
    if (this.tensors.size > tensors) return;
    for (const other of this.others.splice(others)) this.paths.delete(other.key);
    this.addOther(list, path);
  }

  private add(tensor: PickleObject, path: Path): void {
    this.tensors.set(this.name(path.length === 0 ? [BARE] : path), tensor);
  }

  private addOther(value: PickleValue, path: Path): void {
    if (value instanceof PicklePersistent) {
      throw refuse(this.where, "BARE_STORAGE", `${JSON.stringify(path.join("."))} is a storage without a tensor`, {
        help: "save tensors instead of storages",
      });
    }
    this.others.push({ key: this.name(path), kind: kindOf(value) });
  }

  private name(path: Path): string {
    const key = path.join(".");
    if (this.paths.has(key)) {
      throw refuse(this.where, "DUPLICATE_NAME", `two values have the name ${JSON.stringify(key)}`, {
        help: "rename one of them in the dict and save it again",
      });
    }
    this.paths.set(key, path);
    return key;
  }

  private keyOf(key: PickleValue, path: Path): string | number {
    if (typeof key === "string" || (typeof key === "number" && Number.isSafeInteger(key))) return key;
    if (key === null || typeof key === "boolean" || typeof key === "number" || typeof key === "bigint") return `${key}`;
    throw refuse(
      this.where,
      "DICT_KEY",
      `the dict at ${JSON.stringify(path.join("."))} has a ${kindOf(key)} as a key`,
      {
        help: "use strings as keys and save it again",
      },
    );
  }
}
