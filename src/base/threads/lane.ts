// A thread that does something with bytes in shared blocks, command by command: whoever gives them never has to be asynchronous.
import { type TransferListItem, Worker } from "node:worker_threads";
import { BLOCK_BYTES, type Blocks } from "./blocks.ts";

/** Something that a thread can do. */
export interface Ability {
  /** Text of the program, because a bundle has no file of its own for it: `carryOut[kind] = (bytes, a, b, c) => { … }`, which lie in `memory`. */
  readonly program: string;
  /** What it finds in `workerData`. */
  readonly data?: object;
  readonly moved?: readonly TransferListItem[];
}

/** Words of a lane's head: commands that were given, commands that were carried out. */
const GIVEN = 0;
const TAKEN = 1;
const HEAD = 2;
/** Words of a command: its kind, where the bytes begin, how many they are, and three numbers beside. */
const WORDS = 6;
const COMMANDS = 256;
/** As of blocks. */
const PATIENCE_MS = 600_000;

/** Memory of a thread: what V8 takes for it. 24 MB measured on Node 20. */
export const THREAD_BYTES = 24e6;

const HEAD_OF_PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const { memory } = workerData;
const carryOut = {};
`;
/** Blocks go back once a command is carried out. */
const END_OF_PROGRAM = `
const words = new Int32Array(workerData.words);
const all = new Uint8Array(memory.buffer);
const uses = new Int32Array(workerData.uses);
for (let taken = 0; ; taken += 1) {
  while (Atomics.load(words, ${GIVEN}) === taken) Atomics.wait(words, ${GIVEN}, taken);
  const at = ${HEAD} + ${WORDS} * (taken % ${COMMANDS});
  const [kind, begin, length] = [words[at], words[at + 1], words[at + 2]];
  carryOut[kind](all.subarray(begin, begin + length), words[at + 3], words[at + 4], words[at + 5]);
  if (length > 0) {
    const block = Math.floor(begin / ${BLOCK_BYTES});
    Atomics.sub(uses, block, 1);
    Atomics.notify(uses, block);
  }
  Atomics.store(words, ${TAKEN}, taken + 1);
  Atomics.notify(words, ${TAKEN});
}
`;

export class Lane {
  readonly blocks: Blocks;
  readonly worker: Worker;
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * (HEAD + WORDS * COMMANDS)));
  #given = 0;

  constructor(blocks: Blocks, abilities: readonly Ability[]) {
    this.blocks = blocks;
    const programs = abilities.map(({ program }) => `{${program}}`);
    this.worker = new Worker([HEAD_OF_PROGRAM, ...programs, END_OF_PROGRAM].join(""), {
      eval: true,
      workerData: Object.assign({ words: this.#words.buffer, ...blocks.shared }, ...abilities.map(({ data }) => data)),
      transferList: abilities.flatMap(({ moved = [] }) => moved),
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    // A run that fails does not wait for it.
    this.worker.unref();
  }

  /** Commands that are not carried out yet. */
  get waiting(): number {
    return this.#given - Atomics.load(this.#words, TAKEN);
  }

  /** @param bytes in a block, or none. Returns its number, for `until` */
  give(kind: number, bytes: Uint8Array | null, ...[a = 0, b = 0, c = 0]: readonly number[]): number {
    this.until(this.#given - COMMANDS + 1);
    const length = bytes?.length ?? 0;
    const begin = bytes?.byteOffset ?? 0;
    if (length > 0) this.blocks.use(begin);
    this.#words.set([kind, begin, length, a, b, c], HEAD + WORDS * (this.#given % COMMANDS));
    this.#given += 1;
    Atomics.store(this.#words, GIVEN, this.#given);
    Atomics.notify(this.#words, GIVEN);
    return this.#given;
  }

  /** Whether a command is carried out, and all before it. */
  isTaken(number: number): boolean {
    return Atomics.load(this.#words, TAKEN) >= number;
  }

  /** Waits until a command is carried out, and all before it. */
  until(number: number): void {
    for (let taken = Atomics.load(this.#words, TAKEN); taken < number; taken = Atomics.load(this.#words, TAKEN)) {
      if (Atomics.wait(this.#words, TAKEN, taken, PATIENCE_MS) === "timed-out") throw new Error("a thread is dead");
    }
  }

  close(): void {
    void this.worker.terminate();
  }
}
