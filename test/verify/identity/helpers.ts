// Seals and matches of fixtures, with the built-in families.
import { adapters } from "../../../adapters/registry.ts";
import type { ModelOptions } from "../../../src/model/model.ts";
import { type Match, match } from "../../../src/verify/identity/match.ts";
import { type Sealed, seal } from "../../../src/verify/identity/seal.ts";
import type { Seal } from "../../../src/verify/identity/seal-data.ts";
import { encodeSeal, parseSeal } from "../../../src/verify/identity/seal-file.ts";
import { opened } from "../../helpers/checkpoints.ts";

type Options = Partial<ModelOptions>;

export const sealedAt = (path: string, options: Options = {}): Promise<Sealed> =>
  opened(path, (checkpoint) => seal(checkpoint, { adapters, ...options }));

/** By way of its file. */
export async function sealOf(path: string, options: Options = {}): Promise<Seal> {
  return parseSeal(encodeSeal((await sealedAt(path, options)).seal), "seal.json");
}

export const matched = (path: string, against: Seal, options: Options = {}): Promise<Match> =>
  opened(path, (checkpoint) => match(checkpoint, against, { adapters, ...options }));

/** What a match came to, for people. */
export const told = ({ differences }: Pick<Match, "differences">): string[] =>
  differences.map(({ key, kind }) => `${key}: ${kind}`);
