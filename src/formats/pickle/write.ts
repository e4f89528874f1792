import { OPCODES } from "./opcodes.ts";

/** Bytes are gathered in buffers of this size: one that grew would be copied, and its old ones wait to be collected. */
const PART_BYTES = 1 << 16;

/** Most pickles are small: each payload has one. */
const FIRST_BYTES = 1 << 10;

/** Fields of an instance, in order. */
export type Fields<T> = readonly (readonly [name: string, write: (w: PickleWriter, item: T) => void])[];

/**
 * Writes one pickle of protocol 2, the one that torch.load(weights_only=True) reads. Values are written in the order of
 * the calls; text and globals that come again are taken from the memo.
 */
export class PickleWriter {
  private readonly full: Uint8Array[] = [];
  private buffer = Buffer.alloc(FIRST_BYTES);
  private length = 0;
  private readonly texts = new Map<string, number>();
  private readonly globals = new Map<string, number>();

  constructor() {
    this.byte(OPCODES.PROTO);
    this.byte(2);
  }

  /** Ends the pickle. */
  end(): Uint8Array {
    this.byte(OPCODES.STOP);
    return Buffer.concat([...this.full, this.buffer.subarray(0, this.length)]);
  }

  none(): void {
    this.byte(OPCODES.NONE);
  }

  bool(value: boolean): void {
    this.byte(value ? OPCODES.NEWTRUE : OPCODES.NEWFALSE);
  }

  /** @param value a safe integer of at least −2^31 */
  int(value: number): void {
    if (value >= 0 && value < 0x100) {
      this.byte(OPCODES.BININT1);
      this.byte(value);
    } else if (value >= 0 && value < 0x10000) {
      this.byte(OPCODES.BININT2);
      this.byte(value & 0xff);
      this.byte(value >> 8);
    } else if (value < 2 ** 31) {
      this.byte(OPCODES.BININT);
      this.length = this.room(4).writeInt32LE(value, this.length);
    } else {
      this.byte(OPCODES.LONG1);
      this.byte(8);
      this.length = this.room(8).writeBigInt64LE(BigInt(value), this.length);
    }
  }

  /** An int where it is one, else a float. */
  number(value: number): void {
    if (Number.isSafeInteger(value) && value >= -(2 ** 31)) {
      this.int(value);
      return;
    }
    this.byte(OPCODES.BINFLOAT);
    this.length = this.room(8).writeDoubleBE(value, this.length);
  }

  text(value: string): void {
    if (this.recalled(this.texts, value)) return;
    const byteLength = Buffer.byteLength(value);
    this.byte(OPCODES.BINUNICODE);
    this.length = this.room(4).writeUInt32LE(byteLength, this.length);
    const room = this.room(byteLength);
    this.length += room.write(value, this.length);
    this.memorise(this.texts, value);
  }

  /** @param name "module name" */
  global(name: string): void {
    if (this.recalled(this.globals, name)) return;
    this.byte(OPCODES.GLOBAL);
    const lines = `${name.replace(" ", "\n")}\n`;
    const room = this.room(lines.length);
    this.length += room.write(lines, this.length);
    this.memorise(this.globals, name);
  }

  tuple(...items: (() => void)[]): void {
    this.byte(OPCODES.MARK);
    for (const item of items) item();
    this.byte(OPCODES.TUPLE);
  }

  ints(values: readonly number[]): void {
    this.byte(OPCODES.MARK);
    for (const value of values) this.int(value);
    this.byte(OPCODES.TUPLE);
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.byte(OPCODES.EMPTY_LIST);
    this.byte(OPCODES.MARK);
    for (const item of items) write(item);
    this.byte(OPCODES.APPENDS);
  }

  /** @param write writes the key and the value of an item */
  dict<T>(items: Iterable<T>, write: (item: T) => void): void {
    this.byte(OPCODES.EMPTY_DICT);
    this.byte(OPCODES.MARK);
    for (const item of items) write(item);
    this.byte(OPCODES.SETITEMS);
  }

  /** `global(…args)` */
  call(global: string, ...args: (() => void)[]): void {
    this.global(global);
    this.tuple(...args);
    this.byte(OPCODES.REDUCE);
  }

  /**
   * An instance of a class with the given fields, made without calling its constructor.
   * @param fields what each writes of `item`: metadata has so many instances that they are made of one list
   */
  instance<T>(global: string, fields: Fields<T>, item: T): void {
    this.object(global);
    this.dict(fields, ([name, value]) => {
      this.text(name);
      value(this, item);
    });
    this.byte(OPCODES.BUILD);
  }

  /** An instance of a class with the given state, if any. */
  build(global: string, state?: () => void): void {
    this.object(global);
    if (state === undefined) return;
    state();
    this.byte(OPCODES.BUILD);
  }

  private object(global: string): void {
    this.global(global);
    this.byte(OPCODES.EMPTY_TUPLE);
    this.byte(OPCODES.NEWOBJ);
  }

  persistent(id: () => void): void {
    id();
    this.byte(OPCODES.BINPERSID);
  }

  /** Two maps of names as they are: metadata of many tensors asks millions of times, and a name knows its hash. */
  private recalled(memo: ReadonlyMap<string, number>, name: string): boolean {
    const known = memo.get(name);
    if (known === undefined) return false;
    this.indexed(OPCODES.BINGET, OPCODES.LONG_BINGET, known);
    return true;
  }

  private memorise(memo: Map<string, number>, name: string): void {
    const index = this.texts.size + this.globals.size;
    this.indexed(OPCODES.BINPUT, OPCODES.LONG_BINPUT, index);
    memo.set(name, index);
  }

  private indexed(short: number, long: number, index: number): void {
    if (index < 0x100) {
      this.byte(short);
      this.byte(index);
      return;
    }
    this.byte(long);
    this.length = this.room(4).writeUInt32LE(index, this.length);
  }

  private byte(value: number): void {
    this.room(1)[this.length++] = value;
  }

  private room(byteLength: number): Buffer {
    if (this.length + byteLength > this.buffer.length) {
      this.full.push(this.buffer.subarray(0, this.length));
      this.buffer = Buffer.alloc(Math.max(byteLength, PART_BYTES));
      this.length = 0;
    }
    return this.buffer;
  }
}
