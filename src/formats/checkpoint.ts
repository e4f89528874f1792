// What a checkpoint is, whatever its container: named tensors whose bytes can be read by range.
import type { Dtype } from "../base/dtype.ts";
import type { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { FileIn, Folder } from "./io/folder.ts";

export const FORMATS = ["safetensors", "dcp", "pt"] as const;
export type Format = (typeof FORMATS)[number];

export interface TensorInfo {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Size of the row-major payload. */
  readonly byteLength: number;
  /** How the tensor is stored, for a logical tensor that is decoded as it is read. */
  readonly encoding?: string;
}

/** An entry that is no tensor with data (Python objects in a `.pt`, DCP bytes entries). */
export interface OtherEntry {
  readonly key: string;
  readonly kind: string;
  /** What it is where it is a tensor all the same, one without an array of data: "a sparse tensor". */
  readonly tensor?: string;
  /** Why it may not be left out: it holds tensors that are not read here. Thrown by what would lose them. */
  readonly fault?: InputError;
}

/** What a trainer was started with. */
export interface RunArguments {
  /** Where they stand, for messages. */
  readonly path: string;
  /** The file of the checkpoint that holds them. */
  readonly file: string;
  readonly args: JsonObject;
}

export interface Checkpoint {
  /** As the user gave it, for messages and reports. */
  readonly path: string;
  /** Where its files lie, and what else belongs to the model: config, tokenizer, record. */
  readonly folder: Folder;
  /** Where config and tokenizer lie that go with it, where that is not beside it: verl's `huggingface/`. */
  readonly companions?: Folder;
  /** What a reader of reports ought to know of how it was put together, in words. */
  readonly notes?: readonly string[];
  /** Names in the folder of every file that holds bytes of it: weights, index, metadata. */
  readonly files: readonly string[];
  readonly format: Format;
  /** In the container's own order. Headers only: opening a checkpoint reads no payload. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly others: readonly OtherEntry[];
  /** Values that are pickled apart (bytes entries of DCP), by their names: the bytes as they lie. */
  readonly entries?: ReadonlyMap<string, () => Uint8Array>;
  /** Where a flat name came from (`planner_data` of DCP, the nesting of a `.pt`), e.g. ["model", "norm.weight"]. */
  readonly paths?: ReadonlyMap<string, readonly (string | number)[]>;
  /** Chunks that the tensors lie in, where they lie in chunks. */
  readonly chunks?: number;
  /** How many ranks saved it, where each has files of its own and they are joined here. */
  readonly savedBy?: number;
  /**
   * Rank shards of one model under the same keys. Only a table says how they join: `tensors` and `read` are then those
   * of the first.
   */
  readonly ranks?: readonly Checkpoint[];
  /** Arguments of the run that saved it; absent or null where the container keeps none. Throws InputError. */
  readonly run?: () => RunArguments | null;
  /** What is merged into its tensors as they are read; absent where that is nothing. */
  readonly merged?: Merged;
  /** Shards and metadata of a safetensors checkpoint, so that the same files can be written again. */
  readonly safetensors?: SafetensorsOrigin;
  /**
   * Reads the row-major bytes [begin, begin + target.length) of a tensor into `target`, synchronously.
   * Strides, chunks and ranks are resolved here. Throws InputError where the file no longer has them.
   */
  read(key: string, begin: number, target: Uint8Array): void;
  /**
   * Opens the payload of one tensor of each kind, where opening the checkpoint reads none. Throws what opening it finds: a
   * plan should not promise what cannot be read.
   */
  sample?(): void;
  /** What cannot be checked of what was opened so far, in words; null where there is nothing. */
  notChecked?(): string | null;
  /**
   * Checks what reads so far could not (CRC-32 of records not read from end to end), of the given tensors or of all, and
   * that the files are still those of opening. Throws InputError.
   */
  verify(keys?: Iterable<string>): void;
  close(): void;
}

/** Adapters whose changes a checkpoint's tensors have, made as they are read. */
export interface Merged {
  readonly adapters: readonly MergedAdapter[];
  /** By canonical keys of Hugging Face, in the order of the model. */
  readonly tensors: readonly MergedTensor[];
  /** Files of the adapters. */
  readonly files: readonly (FileIn & { readonly role: "weights" | "description" })[];
  /** What the reading so far has shown of a tensor; null of one that was not read whole. */
  measured(key: string): MergedMeasure | null;
  /** The same, of those that were read in part, too. */
  pieces(): readonly MergedPiece[];
  /** Begins anew: of what was read until now, nothing is seen. */
  forget(): void;
  /** What a reader of reports ought to know, in words. */
  readonly notes: readonly string[];
  /** Memory that making the tensors takes, at most, beside the process. */
  readonly workBytes: number;
}

export interface MergedAdapter {
  /** As the user gave it. */
  readonly path: string;
  readonly commit?: string;
  /** Of the file of its weights, in hex. */
  readonly sha256: string;
  /** Number of products, and of tensors that take another's place. */
  readonly products: number;
  readonly replaced: number;
}

export interface MergedTensor {
  readonly key: string;
  /** Index of the adapter. */
  readonly adapter: number;
  /** Name of the adapter's, where the model has it under another or as a part. */
  readonly from?: string;
  readonly kind: "product" | "bias" | "replaced";
  /** Of a product. */
  readonly rank: number | null;
  readonly scale: number | null;
}

export interface MergedMeasure {
  /** Frobenius norm of what was added, before any rounding; of what another took the place of, that of their difference. */
  readonly deltaNorm: number;
  /** Largest |merged − base|, as they are stored. */
  readonly maxChange: number;
  /** Elements whose bits are others now. */
  readonly changed: number;
}

/** The same of elements that one process made, so that those of several can be joined. */
export interface MergedPiece extends Omit<MergedMeasure, "deltaNorm"> {
  readonly key: string;
  /** Number of elements of the whole tensor. */
  readonly elements: number;
  /** Those that it is about: apart and in ascending order. */
  readonly ranges: readonly MergedRange[];
  /** Of what was added; the second number holds what the first has no digits for. */
  readonly sumOfSquares: readonly [high: number, low: number];
}

export interface MergedRange {
  readonly begin: number;
  readonly end: number;
  /** Of its first elements, each by itself: squares of what was added, and whether their bits are others now. */
  readonly first: readonly (readonly [square: number, isChanged: boolean])[];
}

export interface SafetensorsOrigin {
  readonly files: readonly {
    readonly name: string;
    readonly metadata: Readonly<Record<string, string>> | null;
    /** In the order of the data. */
    readonly keys: readonly string[];
    /** True when the file is what the official writer makes of these tensors and metadata. */
    readonly canonical: boolean;
    /** Text of the header where it is not canonical, so that even such a file can be written again. */
    readonly header?: string;
  }[];
  /** Name and text of the index file, if there is one. */
  readonly index: { readonly name: string; readonly text: string } | null;
}
