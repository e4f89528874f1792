// One push: what was asked for, and what stands on both sides.
import type { StepOptions } from "../base/steps.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { HubAddress } from "../hub/address.ts";
import type { HubSettings } from "../hub/settings.ts";
import type { Snapshot } from "../hub/wire.ts";
import type { ModelOptions } from "../model/model.ts";
import { CARD_NAME } from "./card/section.ts";
import type { FileChange } from "./difference.ts";
import type { Report } from "./evidence/report.ts";
import type { LocalFile } from "./local.ts";

/** What is asked of the Hub. */
export interface PushRequest {
  readonly settings: HubSettings;
  /** Replaces and deletes what is in the repository. */
  readonly force?: boolean;
  /** Opens a pull request instead of a commit on the branch. */
  readonly pullRequest?: boolean;
  readonly dryRun?: boolean;
}

export interface PushOptions extends PushRequest, ModelOptions, StepOptions {
  readonly reports?: readonly Report[];
  /** SHA-256 of files that are known already, by name. */
  readonly hashes?: ReadonlyMap<string, string>;
  /** Whether to find the seal where no report tells it; true unless given. */
  readonly seal?: boolean;
  /** Whether a repository that is made is public. */
  readonly public?: boolean;
  /** Title of the commit. */
  readonly message?: string | undefined;
  /** Told what would change, before anything does. */
  readonly onDifferences?: (changes: readonly FileChange[]) => void;
}

export interface Work {
  readonly checkpoint: Checkpoint;
  readonly address: HubAddress;
  readonly shown: string;
  readonly options: PushOptions;
  readonly standing: Snapshot | "no repository" | "no branch";
  readonly local: readonly LocalFile[];
}

export const MAIN = "main";

export const branchOf = ({ revision }: HubAddress): string => revision ?? MAIN;

/** Of the folder in the repository. */
export const prefixOf = ({ path }: HubAddress): string => (path === "" ? "" : `${path}/`);

export const cardPathOf = (address: HubAddress): string => prefixOf(address) + CARD_NAME;

export const filesThere = ({ standing }: Pick<Work, "standing">): Snapshot["files"] =>
  typeof standing === "string" ? new Map() : standing.files;
