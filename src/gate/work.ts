// What a page is asked for, and what its blocks look at.
import type { Check } from "../base/check.ts";
import type { SharedBackend } from "../parity/backend.ts";
import type { BlockName } from "./block.ts";
import type { LogitOptions } from "./forward/logits.ts";
import type { Profile, ProfileName } from "./profile.ts";
import type { Made } from "./report.ts";
import type { Required } from "./required.ts";
import type { OpenSide, SideRequest } from "./sides.ts";
import type { Accepted } from "./waivers.ts";

export interface CheckOptions extends Omit<LogitOptions, "shared"> {
  readonly source: SideRequest;
  /** The other side, of any layout; one checkpoint on its own without it. */
  readonly target?: SideRequest | undefined;
  /** What is looked at; all of it unless given. */
  readonly blocks?: readonly BlockName[] | undefined;
  /** What the sides are to each other; detected unless given. */
  readonly profile?: ProfileName | undefined;
  /** Paths of recorded logits, which the target (or the only side) is compared with. */
  readonly goldens?: readonly string[] | undefined;
  /** Path of a seal, whose model the target (or the only side) has to be. */
  readonly seal?: string | undefined;
  readonly accepted?: Accepted | undefined;
  readonly require?: Required | undefined;
  /** Of several pages; one of this page's own unless given. */
  readonly shared?: SharedBackend | undefined;
}

/** What there is to look at. */
export interface Work {
  readonly options: CheckOptions & LogitOptions;
  /** Those that can be read. */
  readonly sides: readonly OpenSide[];
  /** Whether two were given. */
  readonly isPair: boolean;
  readonly profile: Profile | null;
}

export interface MadeOf {
  readonly checks: readonly Check[];
  readonly found?: Made["found"];
}

/** Of a comparison, where there are not two sides. */
export const whyNoPair = ({ isPair }: Work): string =>
  isPair ? "the other side cannot be read" : "one checkpoint on its own: it needs the other side";

/** Progress and abortion of what reads tensors. */
export function stepsOf({ signal, onProgress }: CheckOptions) {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}
