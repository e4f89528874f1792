// What a page says: the result of `check`.
import type { Check } from "../base/check.ts";
import type { Format } from "../formats/checkpoint.ts";
import type { ParityReport } from "../parity/parity.ts";
import type { Diff } from "../verify/diff.ts";
import type { Match } from "../verify/identity/match.ts";
import type { RoundTrip } from "../verify/roundtrip.ts";
import type { Validation } from "../verify/validate.ts";
import type { Block, BlockName } from "./block.ts";
import type { Ledger } from "./ledger.ts";
import type { Profile } from "./profile.ts";
import type { SideName } from "./sides.ts";
import type { Accepted } from "./waivers.ts";

export interface CheckedSide {
  readonly path: string;
  /** Null where it cannot be read: the first check says why. */
  readonly read: {
    readonly family: string;
    readonly layout: string;
    readonly format: Format;
    readonly tensors: number;
    readonly bytes: number;
    /** The config file that it was read by. */
    readonly config: string;
  } | null;
}

export interface SealOfSide {
  readonly side: SideName;
  /** Over the weights in Hugging Face's keys and dims, in hex: equal in any layout and container. */
  readonly root: string;
}

/** The JSON document of `check`. */
export interface CheckReport {
  /** `fail` where a check failed; what was not checked fails nothing unless it was required. */
  readonly verdict: "pass" | "fail";
  /** In the order given, unless b has the wider types: a cast is looked at from the wider side. */
  readonly a: CheckedSide;
  /** Null for one checkpoint on its own. */
  readonly b: CheckedSide | null;
  /** What the sides are to each other; null for one, and where one cannot be read. */
  readonly profile: Profile | null;
  /** All of them, by block, in the order of the page. */
  readonly checks: readonly Check[];
  readonly blocks: readonly Pick<Block, "name" | "seconds">[];
  readonly accepted: Accepted;
  readonly ledgers: Readonly<Partial<Record<SideName, Ledger>>>;
  readonly diff: Diff | null;
  /** Of the target, or of the only side; null where it has none. */
  readonly seal: SealOfSide | null;
  /** Beside the seal that was given. */
  readonly match: Match | null;
  readonly roundtrips: Readonly<Partial<Record<SideName, RoundTrip>>>;
  readonly validations: Readonly<Partial<Record<SideName, Validation>>>;
  readonly parity: ParityReport | null;
  /** With the same experts on both sides, where free choices differ by ties alone. */
  readonly pinned: ParityReport | null;
  /** Against recorded logits, one each. */
  readonly goldens: readonly ParityReport[];
  /** What a cast or a quantisation costs: the wider side against the other as it is. */
  readonly cost: ParityReport | null;
  readonly notes: readonly string[];
  readonly peakRamBytes: number;
  readonly seconds: number;
}

/** A block as it was made, and what it found. */
export interface Made extends Block {
  readonly found: Partial<
    Pick<
      CheckReport,
      | "ledgers"
      | "diff"
      | "seal"
      | "match"
      | "roundtrips"
      | "validations"
      | "parity"
      | "pinned"
      | "goldens"
      | "cost"
      | "notes"
    >
  >;
}

export type MadeBlocks = ReadonlyMap<BlockName, Made>;
