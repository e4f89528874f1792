// What a target is, found while it is written: the hash of every tensor as Hugging Face has it, of bytes that pass by where
// they pass whole, and of the source read once more, in step with the writing, where they do not.
import { createHash } from "node:crypto";
import { InputError } from "../base/errors.ts";
import type { Blocks } from "../base/threads/blocks.ts";
import type { Lane } from "../base/threads/lane.ts";
import { Workspace } from "../encodings/workspace.ts";
import { mathematicsHash } from "../family/mathematics.ts";
import type { RecordSeal } from "../model/record.ts";
import { EMPTY_HASH, type Hashes, hashesFor } from "../views/identity/hash-thread.ts";
import { rootOf } from "../views/identity/merkle.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import type { ConversionMemory } from "./memory.ts";
import type { Held, SealOutline, SealShare } from "./parts/seal-share.ts";
import type { Passing } from "./passing.ts";
import { type Hashed, isPlain, type Sealing, type SealTensors, sealTensors } from "./seal-tensors.ts";

const MOST_BLOCK_BYTES = 1 << 20;
const NONE = "0".repeat(64);

/**
 * Null of a target whose tensors are stored in codes, which would have to be decoded to be hashed, and of a model that has
 * no form in `hf`: its files can be moved all the same.
 */
export function targetSeal(sealing: Sealing): TargetSeal | null {
  if (sealing.isEncoded) return null;
  try {
    return new TargetSeal(sealing);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

export class TargetSeal {
  readonly #config: string | null;
  /** Found when they are first asked for, which a plan of a large model does not do where it need not. */
  readonly #findTensors: () => SealTensors;
  #foundTensors: SealTensors | undefined;
  /** Those whose bytes pass by as they are hashed. */
  #foundPassing: Passing | undefined;
  #hashes: Hashes | null = null;
  #shared: Blocks | undefined;
  /** Where there are no blocks: one for all tensors, as what each leaves would only go when garbage is collected. */
  readonly #own = new Workspace();
  /** What other threads find, in place of `#hashes`. */
  #given: { readonly sha256: Map<number, string>; readonly crew: Finishing } | null = null;
  /** Numbers of those that are hashed here; null for all. */
  #only: ReadonlySet<number> | null = null;
  #reading: Generator<number, void, void> | null = null;
  /** Bytes to read for each byte that is written, and how many are due. */
  #pace = 0;
  #ahead = 0;
  /** Read at a time. */
  #blockBytes = MOST_BLOCK_BYTES;
  #result: RecordSeal | null = null;

  constructor(sealing: Sealing) {
    this.#config = sealing.model === null ? null : mathematicsHash(sealing.model.family);
    this.#findTensors = () => sealTensors(sealing);
    if (!isPlain(sealing)) this.#foundTensors = this.#findTensors();
  }

  get #tensors(): SealTensors {
    this.#foundTensors ??= this.#findTensors();
    return this.#foundTensors;
  }

  get #passing(): Passing {
    this.#foundPassing ??= this.#tensors.findPassing();
    return this.#foundPassing;
  }

  /** Bytes that are hashed. */
  get bytes(): number {
    return this.all.reduce((sum, { info }) => sum + info.byteLength, 0);
  }

  /** What it will be, of the length that it will have; the result once there is one. */
  get sealed(): RecordSeal | null {
    if (this.#config === null) return null;
    // A plain conversion, whose tensors nobody asked for yet, casts none.
    const dtypes = this.#foundTensors?.rounded?.dtypes ?? [];
    return (
      this.#result ?? {
        root: NONE,
        config: this.#config,
        roundingOf: dtypes.length === 0 ? null : { root: NONE, dtypes },
      }
    );
  }

  /** What each tensor is, in the order of their numbers. */
  outline(): SealOutline {
    const leaves = (all: readonly Hashed[]) =>
      all.map(({ info: { key, dtype, shape } }) => ({ name: key, dtype, shape }));
    const { target, rounded } = this.#tensors;
    const { all = null, dtypes = [] } = rounded ?? {};
    return { config: this.#config, dtypes, target: leaves(target), rounded: all && leaves(all) };
  }

  /** Bytes of each tensor and one of the target that holds elements of it, in the order of their numbers. */
  held(): readonly Held[] {
    const heldBy = this.#tensors.heldBy();
    return this.all.map(({ info: { key, byteLength } }) => ({ key: heldBy(key), byteLength }));
  }

  /** @param crew others that hash all tensors */
  startApart(crew: Finishing): void {
    this.#result = null;
    this.#given = { sha256: new Map(), crew };
  }

  /** All tensors that are hashed, by their numbers. */
  get all(): readonly Hashed[] {
    const { target, rounded } = this.#tensors;
    return [...target, ...(rounded?.all ?? [])];
  }

  /** Number of the tensor that a target's bytes are hashed as; undefined where they are not. */
  passingAs(key: string): number | undefined {
    return this.#passing.wholeOf(key);
  }

  /** SHA-256 of a tensor, of the source. */
  hashed(id: number): string {
    const { source: own, target, rounded } = this.#tensors;
    const count = target.length;
    const [source, tensor] = id < count ? [own, target[id]] : [rounded?.source, rounded?.all[id - count]];
    if (source === undefined || tensor === undefined) throw new RangeError(`the seal has no tensor ${id}`);
    const hash = createHash("sha256");
    for (const bytes of this.#blocks(source, tensor)) hash.update(bytes);
    return hash.digest("hex");
  }

  /** What another thread found. */
  given(id: number, sha256: string): void {
    this.#given?.sha256.set(id, sha256);
  }

  /** @param outputBytes that will be written: what does not pass by is read in step with them */
  start(outputBytes: number, { memory: { bufferBytes }, blocks, hashing, share }: SealStart): void {
    if (share !== undefined) this.#narrow(share);
    this.#hashes = hashesFor(hashing === undefined ? 0 : this.bytes, hashing);
    this.#shared = blocks;
    this.#blockBytes = Math.min(MOST_BLOCK_BYTES, 64 * Math.floor(bufferBytes / 128));
    this.#reading = this.#readRest();
    this.#pace = (this.#ownBytes() - this.#passing.bytes) / Math.max(1, outputBytes);
    this.#ahead = 0;
    this.#result = null;
    this.#given = null;
    this.#passing.reset();
  }

  /** Bytes of a target tensor, as they are produced. */
  passed(key: string, begin: number, bytes: Uint8Array): void {
    this.#passing.take(key, begin, bytes, (id, own) => this.#hashes?.update(id, own));
  }

  /** Reads as much of the source as was written. */
  advance(bytes: number): void {
    this.#ahead += bytes * this.#pace;
    while (this.#ahead > 0) {
      const next = this.#reading?.next();
      if (next === undefined || next.done) return;
      this.#ahead -= next.value;
    }
  }

  #ownBytes(): number {
    const only = this.#only;
    if (only === null) return this.bytes;
    return this.all.reduce((sum, { id, info }) => sum + (only.has(id) ? info.byteLength : 0), 0);
  }

  #narrow({ only, isWhole }: SealShare): void {
    this.#only = only;
    this.#passing.keep(({ id, key }) => only.has(id) && isWhole(key));
  }

  /** Of all that is hashed, by number, in hex; those without bytes have none. @param onStep called while it takes long */
  async digests(onStep: () => void = () => undefined): Promise<ReadonlyMap<number, string>> {
    if (this.#hashes === null) return new Map();
    for (let next = this.#reading?.next(); next && !next.done; next = this.#reading?.next()) onStep();
    for (const { id, info, done } of this.#passing.all) {
      if (done === info.byteLength) continue;
      this.#hashes.reset(id);
      for (const _ of this.#read(this.#tensors.source, { id, info })) onStep();
    }
    return this.#hashes.digests();
  }

  async finish(): Promise<void> {
    if (this.#result !== null) return;
    if (this.#given !== null) await this.#given.crew.finish();
    else if (this.#hashes === null) return;
    const digests = this.#given?.sha256 ?? (await this.digests());
    const lacking = this.all.find(({ id, info }) => info.byteLength > 0 && !digests.has(id));
    if (lacking !== undefined) throw new Error(`"${lacking.info.key}": was not hashed`);
    const root = (all: readonly Hashed[]) =>
      rootOf(all.map(({ id, info }) => ({ ...info, name: info.key, sha256: digests.get(id) ?? EMPTY_HASH })));
    const { target, rounded } = this.#tensors;
    const roundingOf = rounded && { root: root(rounded.all), dtypes: rounded.dtypes };
    this.#result = { root: root(target), config: this.#config ?? NONE, roundingOf };
    this.close();
  }

  /** Null before it is finished. */
  get result(): Result | null {
    return this.#result && { ...this.#result, config: this.#config };
  }

  close(): void {
    this.#hashes?.close();
    this.#hashes = null;
  }

  *#readRest(): Generator<number, void, void> {
    const passing = new Set(this.#passing.all.map(({ id }) => id));
    const isOwn = ({ id }: Hashed) => this.#only === null || this.#only.has(id);
    const { source, target, rounded } = this.#tensors;
    for (const each of target) if (isOwn(each) && !passing.has(each.id)) yield* this.#read(source, each);
    if (rounded === null) return;
    for (const each of rounded.all) if (isOwn(each)) yield* this.#read(rounded.source, each);
  }

  *#read(source: TensorSource, tensor: Hashed): Generator<number, void, void> {
    for (const bytes of this.#blocks(source, tensor)) {
      this.#hashes?.update(tensor.id, bytes);
      yield bytes.length;
    }
  }

  /** Bytes of a tensor, each block there until the next one is. */
  *#blocks(source: TensorSource, { info: { key, byteLength } }: Hashed): Generator<Uint8Array, void, void> {
    for (let begin = 0; begin < byteLength; begin += this.#blockBytes) {
      const length = Math.min(this.#blockBytes, byteLength - begin);
      const bytes = this.#shared?.lend(length) ?? this.#own.bytes("block", length);
      source.read(key, begin, bytes);
      yield bytes;
    }
  }
}

export interface SealStart {
  readonly memory: ConversionMemory;
  /** That what passes by lies in. */
  readonly blocks?: Blocks | undefined;
  /** A thread that hashes, for no one else. */
  readonly hashing?: Lane | undefined;
  /** Of a part that writes a share of the target. */
  readonly share?: SealShare;
}

/** Others that hash. */
interface Finishing {
  finish(): Promise<void>;
}

/** What a conversion tells of its target: the config's hash is null where no family is known. */
export interface Result extends Omit<RecordSeal, "config"> {
  readonly config: string | null;
}
