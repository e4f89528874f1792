import { OPCODES } from "./opcodes.ts";

const FIRST_CAPACITY = 1 << 10;

/**
 * Writes one pickle of protocol 2, the one that torch.load(weights_only=True) reads. Values are written in the order of
 * the calls; text and globals that come again are taken from the memo.
 */
export class PickleWriter {
  private buffer = Buffer.alloc(FIRST_CAPACITY);
  private length = 0;
  private readonly memo = new Map<string, number>();

  constructor() {
    this.bytes(OPCODES.PROTO, 2);
  }

  /** Ends the pickle. */
  end(): Uint8Array {
    this.bytes(OPCODES.STOP);
    return this.buffer.subarray(0, this.length);
  }

  none(): void {
    this.bytes(OPCODES.NONE);
  }

  bool(value: boolean): void {
    this.bytes(value ? OPCODES.NEWTRUE : OPCODES.NEWFALSE);
  }

  /** @param value a safe integer of at least −2^31 */
  int(value: number): void {
    if (value >= 0 && value < 0x100) this.bytes(OPCODES.BININT1, value);
    else if (value >= 0 && value < 0x10000) this.bytes(OPCODES.BININT2, value & 0xff, value >> 8);
    else if (value < 2 ** 31) {
      this.bytes(OPCODES.BININT);
      this.length = this.room(4).writeInt32LE(value, this.length);
    } else {
      this.bytes(OPCODES.LONG1, 8);
      this.length = this.room(8).writeBigInt64LE(BigInt(value), this.length);
    }
  }

  text(value: string): void {
    this.once(`text ${value}`, () => {
      const byteLength = Buffer.byteLength(value);
      this.bytes(OPCODES.BINUNICODE);
      this.length = this.room(4).writeUInt32LE(byteLength, this.length);
      this.length += this.room(byteLength).write(value, this.length);
    });
  }

  /** @param name "module name" */
  global(name: string): void {
    this.once(`global ${name}`, () => {
      this.bytes(OPCODES.GLOBAL);
      const lines = `${name.replace(" ", "\n")}\n`;
      this.length += this.room(lines.length).write(lines, this.length);
    });
  }

  tuple(...items: (() => void)[]): void {
    this.bytes(OPCODES.MARK);
    for (const item of items) item();
    this.bytes(OPCODES.TUPLE);
  }

  ints(values: readonly number[]): void {
    this.bytes(OPCODES.MARK);
    for (const value of values) this.int(value);
    this.bytes(OPCODES.TUPLE);
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.bytes(OPCODES.EMPTY_LIST, OPCODES.MARK);
    for (const item of items) write(item);
    this.bytes(OPCODES.APPENDS);
  }

  /** @param write writes the key and the value of an item */
  dict<T>(items: Iterable<T>, write: (item: T) => void): void {
    this.bytes(OPCODES.EMPTY_DICT, OPCODES.MARK);
    for (const item of items) write(item);
    this.bytes(OPCODES.SETITEMS);
  }

  /** `global(…args)` */
  call(global: string, ...args: (() => void)[]): void {
    this.global(global);
    this.tuple(...args);
    this.bytes(OPCODES.REDUCE);
  }

  /** An instance of a class with the given fields, made without calling its constructor. */
  instance(global: string, fields?: Readonly<Record<string, () => void>>): void {
    this.build(
      global,
      fields === undefined
        ? undefined
        : () =>
            this.dict(Object.entries(fields), ([name, value]) => {
              this.text(name);
              value();
            }),
    );
  }

  /** An instance of a class with the given state. */
  build(global: string, state?: () => void): void {
    this.global(global);
    this.bytes(OPCODES.EMPTY_TUPLE, OPCODES.NEWOBJ);
    if (state === undefined) return;
    state();
    this.bytes(OPCODES.BUILD);
  }

  persistent(id: () => void): void {
    id();
    this.bytes(OPCODES.BINPERSID);
  }

  private once(key: string, write: () => void): void {
    const known = this.memo.get(key);
    if (known !== undefined) {
      this.indexed(OPCODES.BINGET, OPCODES.LONG_BINGET, known);
      return;
    }
    write();
    this.indexed(OPCODES.BINPUT, OPCODES.LONG_BINPUT, this.memo.size);
    this.memo.set(key, this.memo.size);
  }

  private indexed(short: number, long: number, index: number): void {
    if (index < 0x100) {
      this.bytes(short, index);
      return;
    }
    this.bytes(long);
    this.length = this.room(4).writeUInt32LE(index, this.length);
  }

  private bytes(...values: number[]): void {
    const buffer = this.room(values.length);
    for (const value of values) buffer[this.length++] = value;
  }

  private room(byteLength: number): Buffer {
    if (this.length + byteLength > this.buffer.length) {
      const larger = Buffer.alloc(Math.max(this.length + byteLength, 2 * this.buffer.length));
      this.buffer.copy(larger, 0, 0, this.length);
      this.buffer = larger;
    }
    return this.buffer;
  }
}
