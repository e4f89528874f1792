// An unpickled object is inert data: nothing of it is ever called, and none of its names becomes a property.

export type PickleValue =
  | null
  | boolean
  | number
  /** Integers beyond ±(2^53 − 1). */
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleGlobal
  | PickleObject
  | PicklePersistent;

export type PickleTuple = readonly PickleValue[];

export class PickleList {
  readonly items: PickleValue[] = [];
}

/** Keys and values alternate in `items`, in the order of writing; a key may occur twice. */
export class PickleDict {
  readonly items: PickleValue[] = [];
  /** What an instance of a subclass carries beside its items. */
  attributes: PickleDict | undefined;

  *entries(): Generator<[PickleValue, PickleValue]> {
    for (let i = 0; i < this.items.length; i += 2) yield [this.items[i]!, this.items[i + 1]!];
  }

  /** The value of a string key, the last one if there are several; linear in the size of the dict. */
  get(key: string): PickleValue | undefined {
    for (let i = this.items.length - 2; i >= 0; i -= 2) if (this.items[i] === key) return this.items[i + 1];
    return undefined;
  }
}

/** A class or function, as a name and no more: "module name". */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

/**
 * Stands for the object that REDUCE or NEWOBJ would make of a global, with the state that BUILD would give it and what
 * APPENDS, SETITEMS or ADDITEMS would put into it.
 */
export class PickleObject {
  state: PickleValue | undefined;
  private contents: PickleValue[] | undefined;

  constructor(
    readonly global: string,
    readonly args: PickleTuple,
  ) {}

  get items(): PickleValue[] {
    this.contents ??= [];
    return this.contents;
  }

  /** Everything that it was made of. */
  get parts(): readonly PickleValue[] {
    return [...this.args, ...(this.contents ?? []), ...(this.state === undefined ? [] : [this.state])];
  }

  /** A field of a dict state; undefined where the instance does not have it. */
  field(name: string): PickleValue | undefined {
    return this.state instanceof PickleDict ? this.state.get(name) : undefined;
  }
}

/** A persistent id: in torch's files, a storage. */
export class PicklePersistent {
  constructor(readonly id: PickleValue) {}
}

export const isTuple = (value: PickleValue | undefined): value is PickleTuple => Array.isArray(value);

export const isObject = (value: PickleValue | undefined, global: string): value is PickleObject =>
  value instanceof PickleObject && value.global === global;

/** A non-negative integer that a JavaScript number holds exactly. */
export const isSize = (value: PickleValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

export const isSizes = (value: PickleValue | undefined): value is readonly number[] =>
  isTuple(value) && value.every(isSize);

/** The kind of a value in a person's words. */
export function kindOf(value: PickleValue | undefined): string {
  if (value === null) return "none";
  if (typeof value === "bigint") return "number";
  if (typeof value !== "object") return typeof value;
  if (isTuple(value)) return "tuple";
  if (value instanceof PickleList) return "list";
  if (value instanceof PickleDict) return "dict";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof PicklePersistent) return "storage";
  return (value instanceof PickleGlobal ? value.name : value.global).replace(" ", ".");
}
