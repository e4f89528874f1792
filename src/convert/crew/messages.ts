// What the threads of a conversion say to each other.
import type { SentFailure } from "../../base/sent-failure.ts";
import type { SumPiece } from "../../formats/checksums.ts";
import type { SeenRecords } from "../../formats/zip/shared-sums.ts";
import type { CastStats } from "../../views/cast.ts";
import type { ConversionOptions } from "../plan.ts";

/** What a conversion is planned from, again, in another thread. */
export interface PlannedFrom {
  readonly source: string;
  readonly target: string;
  /** Modules of families from outside. */
  readonly adapters: readonly string[];
  readonly options: Omit<ConversionOptions, "adapters">;
}

/** What a thread gets when it begins. */
export interface CrewData {
  readonly from: PlannedFrom;
  /** Of what the first thread has planned: another plan would write other bytes. */
  readonly digest: string;
  /** Words that all share: see `NEXT`, `FOLLOWED`. */
  readonly words: Int32Array;
}

/** Number of the next task that nobody has taken. */
export const NEXT = 0;
/** How much of what there is to write is followed, in units of `UNIT_BYTES`. */
export const FOLLOWED = 1;
export const WORDS = 2;
export const UNIT_BYTES = 2 ** 16;
/** More than there is of anything. */
export const MOST_BYTES = (2 ** 31 - 1) * UNIT_BYTES;
/**
 * Nobody runs further ahead of who follows: what is written is still in the page cache when it is read for its hash.
 */
export const MOST_AHEAD_BYTES = 2 ** 30;

/** Begins the work: what was written before, by the index of the file. */
export interface Begin {
  readonly out: string;
  readonly kept: readonly number[];
}

/** What was read of a source file. */
export interface ReadOf {
  readonly path: string;
  readonly bytes: number;
  readonly version: string;
  readonly count: number;
}

export interface Done {
  readonly kind: "done";
  readonly task: number;
  readonly sums: readonly SumPiece[];
  readonly casts: readonly (readonly [key: string, stats: CastStats])[];
  /** Of tensors of the seal, by their numbers. */
  readonly sha256: readonly (readonly [id: number, sha256: string])[];
  readonly reads: readonly ReadOf[];
}

/** A thread has nothing more to do. */
export interface End {
  readonly kind: "end";
  readonly records: SeenRecords;
  readonly notChecked: string | null;
  readonly reads: readonly ReadOf[];
}

export interface Failed {
  readonly kind: "failed";
  readonly failure: SentFailure;
  readonly reads: readonly ReadOf[];
}

export type Message = Done | End | Failed;
