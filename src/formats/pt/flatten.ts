// Nested dicts and lists of a `.pt` as flat names: joined with ".", list items by index.
import type { OtherEntry } from "../checkpoint.ts";
import { refuse, type Where } from "../io/refuse.ts";
import {
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
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
/** Values that are no tensors, each with a name. A list of them counts as one; trainers have some hundred thousands. */
const OTHERS_LIMIT = 500_000;
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
  /** What `plainSize` found: a value may stand in many places. */
  private readonly sizes = new Map<PickleValue, number>();

  constructor(
    private readonly budget: number,
    private readonly where: Where,
  ) {}

  visit(value: PickleValue, path: Path): void {
    this.count(1);
    this.checkDepth(path.length);
    if (isTensor(value)) this.add(value, path);
    else if (value instanceof PickleDict && value.items.length > 0) {
      for (const [key, item] of value.entries()) this.visit(item, [...path, this.keyOf(key, path)]);
    } else if (value instanceof PickleList) this.visitList(value, value.items, path);
    else if (isTuple(value)) this.visitList(value, value, path);
    else this.addOther(value, path);
  }

  /** A list without tensors is one entry. */
  private visitList(list: PickleValue, items: readonly PickleValue[], path: Path): void {
    const parts = this.plainSize(list, path.length) - 1;
    if (parts < 0) for (const [i, item] of items.entries()) this.visit(item, [...path, i]);
    else {
      this.count(parts);
      this.addOther(list, path);
    }
  }

  /** How many values a value consists of, itself included; 0 where a tensor, or a storage without one, is among them. */
  private plainSize(value: PickleValue, depth: number): number {
    if (isPlain(value)) return 1;
    if (isTensor(value) || value instanceof PicklePersistent) return 0;
    this.checkDepth(depth);
    const known = this.sizes.get(value);
    if (known !== undefined) return known;
    let size = 1;
    for (const part of partsOf(value)) {
      const inside = this.plainSize(part, depth + 1);
      size = inside === 0 ? 0 : size + inside;
      if (size === 0) break;
    }
    this.sizes.set(value, size);
    return size;
  }

  private count(values: number): void {
    this.visits += values;
    if (this.visits > this.budget) {
      throw refuse(this.where, "PICKLE_EXPANSION", "the pickle repeats its parts until they outgrow the file");
    }
  }

  private checkDepth(depth: number): void {
    if (depth <= DEPTH_LIMIT) return;
    throw refuse(this.where, "PICKLE_NESTING", `its dicts and lists are nested more than ${DEPTH_LIMIT} deep`);
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
    if (this.others.length === OTHERS_LIMIT)
      throw refuse(this.where, "TOO_MANY_VALUES", `it holds more than ${OTHERS_LIMIT} values that are no tensors`, {
        help: "save the model's state dict alone",
      });
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

/** A value without parts. */
const isPlain = (value: PickleValue): value is null | boolean | number | bigint | string | Uint8Array | PickleGlobal =>
  value === null || typeof value !== "object" || value instanceof Uint8Array || value instanceof PickleGlobal;

const partsOf = (value: PickleValue): readonly PickleValue[] =>
  value instanceof PickleList || value instanceof PickleDict ? value.items : isTuple(value) ? value : [];
