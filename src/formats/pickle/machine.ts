// A pickle machine that can only build plain data. Python's pickle is a program that may call anything. Here a global
// is a name, and a call is a record of name and arguments: nothing is ever looked up or run.
import { type Refusal, refuse, type Where } from "../io/refuse.ts";
import { isHostile } from "./hostile.ts";
import {
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  type PicklePersistent,
  type PickleTuple,
  type PickleValue,
} from "./value.ts";

/**
 * How a known global is used. "name": it stands for itself (a dtype). "object": it is made with arguments and state.
 * A function: it makes plain data, or returns undefined for arguments that it does not accept. Any other global is made
 * with arguments and state as well; what it means is unknown.
 */
export type GlobalRule = "name" | "object" | ((args: PickleTuple) => PickleValue | undefined);

export interface UnpickleOptions {
  readonly where: Where;
  /** By "module name". */
  readonly globals: ReadonlyMap<string, GlobalRule>;
  /** What stands for a storage outside the pickle, by its persistent id; without it there can be none. */
  readonly persistent?: (id: PickleValue) => PicklePersistent;
}

/** Marks that are open at once; torch's files need fewer than ten. */
const MARK_LIMIT = 1000;
/** Bytes of an integer: its time is quadratic in them. */
const INTEGER_LIMIT = 1 << 10;
/** Characters of a module or a class name in a GLOBAL. */
const NAME_LIMIT = 256;

/**
 * Lists, dicts, tuples and sets that a pickle may make: so many, and one more for so many of its bytes. Python's writer takes some
 * six or more for one with what is in it; a byte for each is an attack on memory. The empty tuple is one for all.
 */
const CONTAINERS_FLOOR = 500_000;
const BYTES_PER_CONTAINER = 6;

/** Thrown (as the cause of an InputError) where the bytes end before STOP, so that a caller with more bytes can retry. */
export class PickleEndsEarly extends Error {}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Stack, marks and memo; one method for each thing that an opcode does. */
export class Machine {
  private readonly stack: PickleValue[] = [];
  private readonly marks: number[] = [];
  private readonly memo: PickleValue[] = [];
  private memoCount = 0;
  private containers = 0;
  private readonly view: DataView;
  private at: number;

  constructor(
    private readonly bytes: Uint8Array,
    begin: number,
    private readonly options: UnpickleOptions,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = begin;
  }

  /** Where the machine stands. */
  get position(): number {
    return this.at;
  }

  /** The one value that a pickle leaves on the stack. */
  result(): PickleValue {
    if (this.stack.length === 1 && this.marks.length === 0) return this.stack[0]!;
    throw this.refuse("PICKLE_STACK", `the pickle ends with ${this.stack.length} values on its stack instead of one`);
  }

  refuse(code: string, what: string, details: Refusal = {}) {
    return refuse(this.options.where, code, `${what} (byte ${this.at})`, details);
  }

  /** Moves on by n bytes and gives the position before. */
  take(n: number): number {
    const begin = this.at;
    if (begin + n > this.bytes.length) {
      throw this.refuse("PICKLE_TRUNCATED", "the pickle ends early", { cause: new PickleEndsEarly() });
    }
    this.at = begin + n;
    return begin;
  }

  u8 = (): number => this.bytes[this.take(1)]!;
  u16 = (): number => this.view.getUint16(this.take(2), true);
  u32 = (): number => this.view.getUint32(this.take(4), true);
  /** A length, which is beyond any file where it is beyond 2^53. */
  u64 = (): number => Number(this.view.getBigUint64(this.take(8), true));
  i32 = (): number => this.view.getInt32(this.take(4), true);
  f64 = (): number => this.view.getFloat64(this.take(8), false);

  frame(): void {
    const length = this.view.getBigUint64(this.take(8), true);
    if (length > this.bytes.length - this.at) {
      throw this.refuse("PICKLE_TRUNCATED", "the pickle ends early", { cause: new PickleEndsEarly() });
    }
  }

  protocol(version: number): void {
    if (version > 5) throw this.refuse("PICKLE_PROTOCOL", `pickle protocol ${version} is not known`);
  }

  /** A two's-complement little-endian integer of any length. */
  long(length: number): number | bigint {
    if (length > INTEGER_LIMIT) throw this.refuse("PICKLE_NUMBER", `an integer of the pickle has ${length} bytes`);
    const begin = this.take(length);
    if (length === 0) return 0;
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[begin + i]!);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  slice(length: number): Uint8Array {
    const begin = this.take(length);
    return this.bytes.slice(begin, begin + length);
  }

  text(length: number): string {
    const begin = this.take(length);
    return this.decode(begin, begin + length);
  }

  private decode(begin: number, end: number): string {
    try {
      return utf8.decode(this.bytes.subarray(begin, end));
    } catch (cause) {
      throw this.refuse("PICKLE_UTF8", "a string of the pickle is not UTF-8", { cause });
    }
  }

  line(): string {
    const begin = this.at;
    const end = this.bytes.subarray(begin, begin + NAME_LIMIT + 1).indexOf(0x0a);
    if (end >= 0) {
      this.at = begin + end + 1;
      return this.decode(begin, begin + end);
    }
    this.take(NAME_LIMIT + 1);
    throw this.refuse("PICKLE_NAME", `a global of the pickle has a name of more than ${NAME_LIMIT} bytes`);
  }

  push(value: PickleValue): void {
    this.stack.push(value);
  }

  /** Pushes a list, dict, tuple or set that is new. */
  pushNew(value: PickleValue): void {
    this.containers += 1;
    if (this.containers > CONTAINERS_FLOOR + this.bytes.length / BYTES_PER_CONTAINER) {
      throw this.refuse(
        "PICKLE_TOO_MANY",
        "the pickle makes more lists, dicts and tuples than its size can account for",
        {
          expected: `at most ${Math.floor(CONTAINERS_FLOOR + this.bytes.length / BYTES_PER_CONTAINER)}`,
          found: "more",
        },
      );
    }
    this.stack.push(value);
  }

  pop(): PickleValue {
    const floor = this.marks.at(-1) ?? 0;
    if (this.stack.length <= floor) throw this.refuse("PICKLE_STACK", "the pickle takes a value from an empty stack");
    return this.stack.pop()!;
  }

  top(): PickleValue {
    const floor = this.marks.at(-1) ?? 0;
    if (this.stack.length <= floor) throw this.refuse("PICKLE_STACK", "the pickle refers to a value of an empty stack");
    return this.stack.at(-1)!;
  }

  mark(): void {
    if (this.marks.length === MARK_LIMIT) {
      throw this.refuse("PICKLE_DEPTH", `the pickle is nested more than ${MARK_LIMIT} deep`);
    }
    this.marks.push(this.stack.length);
  }

  sinceMark(): PickleValue[] {
    const mark = this.marks.pop();
    if (mark === undefined) throw this.refuse("PICKLE_STACK", "the pickle refers to a mark that is not set");
    return this.stack.splice(mark);
  }

  tuple(length: number): void {
    const items: PickleValue[] = new Array(length);
    for (let i = length - 1; i >= 0; i--) items[i] = this.pop();
    this.pushNew(items);
  }

  append(items: PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PickleList || list instanceof PickleObject))
      throw this.refuse("PICKLE_TYPE", `the pickle appends to a ${kindOf(list)}`);
    for (const item of items) list.items.push(item);
  }

  setItems(items: PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PickleDict || dict instanceof PickleObject))
      throw this.refuse("PICKLE_TYPE", `the pickle sets keys of a ${kindOf(dict)}`);
    if (items.length % 2 !== 0) throw this.refuse("PICKLE_TYPE", "the pickle sets a key without a value");
    for (const item of items) dict.items.push(item);
  }

  setItem(): void {
    const value = this.pop();
    this.setItems([this.pop(), value]);
  }

  /** EMPTY_SET and FROZENSET. */
  set(kind: "set" | "frozenset", items: readonly PickleValue[]): void {
    this.pushNew(new PickleObject(`builtins ${kind}`, items));
  }

  /** Each put takes at least two bytes of the file, so no honest index exceeds its length. */
  put(index: number): void {
    if (index > this.bytes.length)
      throw this.refuse("PICKLE_MEMO", `the pickle's memo index ${index} is out of all proportion`);
    if (this.memo[index] === undefined) this.memoCount++;
    this.memo[index] = this.top();
  }

  memoize(): void {
    this.put(this.memoCount);
  }

  get(index: number): void {
    const value = this.memo[index];
    if (value === undefined) throw this.refuse("PICKLE_MEMO", `the pickle refers to memo ${index}, which is not set`);
    this.stack.push(value);
  }

  global(module: PickleValue, name: PickleValue): void {
    if (typeof module !== "string" || typeof name !== "string") {
      throw this.refuse("PICKLE_GLOBAL", `the pickle names a global by a ${kindOf(module)} and a ${kindOf(name)}`);
    }
    if (isHostile(module, name)) {
      throw this.refuse(
        "PICKLE_GLOBAL",
        `the pickle asks for ${JSON.stringify(`${module}.${name}`)}, which runs code`,
        {
          found: `${module}.${name}`,
          help: "nothing was executed; do not load this file with torch: no checkpoint needs that",
        },
      );
    }
    this.stack.push(new PickleGlobal(`${module} ${name}`));
  }

  /** REDUCE and NEWOBJ: what is made is a record; nothing is called. */
  make(): void {
    const args = this.pop();
    const made = this.pop();
    if (!isTuple(args)) throw this.refuse("PICKLE_TYPE", `the pickle calls ${kindOf(made)} with a ${kindOf(args)}`);
    this.stack.push(
      made instanceof PickleObject ? new PickleObject(made.global, [made, ...args]) : this.made(made, args),
    );
  }

  private made(global: PickleValue, args: PickleTuple): PickleValue {
    if (!(global instanceof PickleGlobal)) {
      throw this.refuse("PICKLE_TYPE", `the pickle calls a ${kindOf(global)} with a ${kindOf(args)}`);
    }
    const rule = this.options.globals.get(global.name) ?? "object";
    const value =
      rule === "object" ? new PickleObject(global.name, args) : typeof rule === "function" ? rule(args) : undefined;
    if (value !== undefined) return value;
    throw this.refuse("PICKLE_TYPE", `the pickle calls ${kindOf(global)} with arguments that it does not take`);
  }

  /** NEWOBJ_EX: keywords count as one more argument. */
  makeWithKeywords(): void {
    const keywords = this.pop();
    const args = this.pop();
    this.stack.push(isTuple(args) ? [...args, keywords] : args);
    this.make();
  }

  build(): void {
    const state = this.pop();
    const built = this.top();
    if (built instanceof PickleObject && built.state === undefined) built.state = state;
    // An OrderedDict may carry attributes, as state_dict()'s _metadata.
    else if (built instanceof PickleDict && state instanceof PickleDict) built.attributes = state;
    else throw this.refuse("PICKLE_TYPE", `the pickle gives a state to a ${kindOf(built)}`);
  }

  persistent(): void {
    const id = this.pop();
    const storage = this.options.persistent?.(id);
    if (storage === undefined) {
      throw this.refuse("PICKLE_PERSISTENT", "the pickle refers to a storage where there can be none");
    }
    this.stack.push(storage);
  }

  stackGlobal(): void {
    const name = this.pop();
    this.global(this.pop(), name);
  }
}
