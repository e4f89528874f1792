// Nested dicts and lists of a `.pt` as flat names: joined with ".", list items by index.
import type { OtherEntry } from "../checkpoint.ts";
import { refuse, type Where } from "../io/refuse.ts";
import {
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  PicklePersistent,
  type PickleValue,
} from "../pickle/value.ts";
import { attributesOf, isTensor, notDense } from "../torch/tensor-types.ts";
import { keyText } from "./key-text.ts";

export type Path = readonly (string | number)[];

export interface Flattened {
  readonly tensors: ReadonlyMap<string, PickleObject>;
  readonly others: readonly OtherEntry[];
  readonly paths: ReadonlyMap<string, Path>;
}

/** Levels of dicts and lists; trainers need fewer than ten. */
const DEPTH_LIMIT = 100;
/** Values that are no tensors, each with a name. A list of them counts as one; trainers have some hundred thousands. */
const OTHERS_LIMIT = 500_000;
/** Values that may be visited beyond one a byte of the pickle. */
const BUDGET_FLOOR = 10_000;

/** Most values to visit: what a pickle of this many bytes can hold unless it repeats itself. */
export const budgetOf = (pickleLength: number): number => pickleLength + BUDGET_FLOOR;

/** The name of a file's only tensor, where it stands in no dict. */
const BARE = "tensor";

/**
 * @param budget `budgetOf` its pickle
 * @param root where the value stands, in a checkpoint that is more than this pickle
 * @throws InputError for nesting or repetition beyond measure, and for two values of one name
 */
export function flatten(value: PickleValue, budget: number, where: Where, root: Path = []): Flattened {
  const walk = new Walk(budget, where);
  walk.visit(value, root);
  return walk;
}

class Walk implements Flattened {
  readonly tensors = new Map<string, PickleObject>();
  readonly paths = new Map<string, Path>();
  readonly others: OtherEntry[] = [];
  private visits = 0;
  /** What `plainSize` found: a value may stand in many places. */
  private readonly sizes = new Map<PickleValue, number>();
  /** Objects that hold no tensor, with all that they hold. */
  private readonly clean = new Set<PickleValue>();

  constructor(
    private readonly budget: number,
    private readonly where: Where,
  ) {}

  visit(value: PickleValue, path: Path): void {
    this.count(1);
    this.checkDepth(path.length);
    if (isTensor(value)) this.add(value, path);
    else if (value instanceof PickleDict && value.items.length > 0) {
      for (const [key, item] of value.entries()) this.visit(item, [...path, keyText(key)]);
      this.checkAttributes(value, path);
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
    if (value instanceof PickleObject) return this.tensorWithin([value]) === undefined ? 1 : 0;
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
    const at = path.length === 0 ? [BARE] : path;
    const kind = notDense(tensor);
    if (kind === null) this.tensors.set(this.name(at), tensor);
    else this.addEntry({ key: this.name(at), kind: kindOf(tensor), tensor: kind });
    if (this.tensorWithin(attributesOf(tensor)) !== undefined)
      this.addHidden([...at, "attributes"], "attributes", "attributes of a tensor");
  }

  /** Of a subclass of dict; the items are visited by name. */
  private checkAttributes({ attributes }: PickleDict, path: Path): void {
    if (attributes === undefined || this.tensorWithin([attributes]) === undefined) return;
    this.addHidden([...path, "attributes"], "attributes", "attributes of a dict");
  }

  private addOther(value: PickleValue, path: Path): void {
    const kind = kindOf(value);
    if (value instanceof PicklePersistent)
      this.addEntry({ key: this.name(path), kind, tensor: "a storage without a tensor" });
    else if (value instanceof PickleObject && this.tensorWithin([value]) !== undefined)
      this.addHidden(path, kind, kind);
    else this.addEntry({ key: this.name(path), kind });
  }

  private addHidden(path: Path, kind: string, what: string): void {
    const key = this.name(path);
    const fault = refuse(
      { file: this.where.file },
      "OBJECT_HOLDS_TENSORS",
      `${key === "" ? "it" : JSON.stringify(key)} is ${/^[aeiou]/.test(what) ? "an" : "a"} ${what} that holds tensors; only dicts, lists and tuples are read`,
      {
        found: what,
        help: "load the file with torch where its classes are at hand, and save the tensors in a dict (for a module, its state_dict())",
      },
    );
    this.addEntry({ key, kind, fault });
  }

  private addEntry(entry: OtherEntry): void {
    if (this.others.length === OTHERS_LIMIT)
      throw refuse(this.where, "TOO_MANY_VALUES", `it holds more than ${OTHERS_LIMIT} values that are no tensors`, {
        help: "save the model's state dict alone",
      });
    this.others.push(entry);
  }

  /** A tensor anywhere inside; objects may refer to each other in circles. */
  private tensorWithin(values: readonly PickleValue[]): PickleObject | undefined {
    const seen = new Set<PickleValue>();
    const next = [...values];
    for (let value = next.pop(); value !== undefined; value = next.pop()) {
      if (isPlain(value) || this.clean.has(value) || seen.has(value)) continue;
      this.count(1);
      if (isTensor(value)) return value;
      seen.add(value);
      for (const part of partsOf(value)) next.push(part);
    }
    for (const value of seen) this.clean.add(value);
    return undefined;
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
}

/** A value without parts. */
const isPlain = (value: PickleValue): value is null | boolean | number | bigint | string | Uint8Array | PickleGlobal =>
  value === null || typeof value !== "object" || value instanceof Uint8Array || value instanceof PickleGlobal;

function partsOf(value: PickleValue): readonly PickleValue[] {
  if (value instanceof PickleList) return value.items;
  if (value instanceof PickleDict)
    return value.attributes === undefined ? value.items : [...value.items, value.attributes];
  if (value instanceof PickleObject) return value.parts;
  return isTuple(value) ? value : [];
}
