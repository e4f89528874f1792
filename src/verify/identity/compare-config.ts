// What the config of a checkpoint makes the forward pass compute, against the config of a seal.
import { InputError } from "../../base/errors.ts";
import type { Adapter } from "../../family/adapter.ts";
import { type ConfigDifference, compareConfigs } from "../../family/config-differences.ts";
import type { Family } from "../../family/family.ts";
import type { Model } from "../../model/model.ts";
import { configIdentity, type Mathematics } from "./config.ts";
import type { Seal } from "./seal-data.ts";

export interface ConfigMatch {
  /** Of the checkpoint's own config; null where it has none, or its family is not known. */
  readonly sha256: string | null;
  readonly expected: string | null;
  /** By config.json's own fields, where these tell it: `a` is the checkpoint's, `b` the seal's. Null where nothing was compared. */
  readonly differences: readonly ConfigDifference[] | null;
  /** Why nothing was. */
  readonly reason: string | null;
}

export function compareConfig({ family }: Model, seal: Seal, adapters: readonly Adapter[]): ConfigMatch {
  const { sha256, mathematics } = configIdentity(family);
  if (seal.config === null) return { sha256, expected: null, differences: null, reason: "the seal has none" };
  const expected = seal.config.sha256;
  if (sha256 === expected) return { sha256, expected, differences: [], reason: null };
  const theirs = familyOf(seal, adapters);
  // A version that knows more of a family's mathematics gives other hashes: both are then seen by this one.
  if (theirs !== null && configIdentity(theirs).sha256 === sha256) {
    return { sha256, expected, differences: [], reason: null };
  }
  const written = theirs === null || theirs.family !== family.family ? [] : writtenIn(family, theirs);
  const families: ConfigDifference[] =
    seal.family === family.family ? [] : [{ field: "family", a: family.family, b: seal.family }];
  const differences = [
    ...families,
    ...(written.length > 0 ? written : inMathematics(mathematics, seal.config.mathematics)),
  ];
  return { sha256, expected, differences, reason: null };
}

/** By the fields of the files; none where a config cannot be read in parts. */
function writtenIn(a: Family, b: Family): readonly ConfigDifference[] {
  try {
    return compareConfigs(a, b);
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}

/** The family at the seal's config; null where this version cannot read it. */
function familyOf(seal: Seal, adapters: readonly Adapter[]): Family | null {
  const adapter = adapters.find(({ family }) => family === seal.family);
  if (adapter === undefined || seal.config === null) return null;
  const shapes = new Map(seal.tensors.map(({ name, shape }) => [name, shape]));
  try {
    return adapter.open(seal.config.json, "the seal, config.json", shapes);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

function inMathematics(a: Mathematics, b: Mathematics): ConfigDifference[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((field) => JSON.stringify(a[field] ?? null) !== JSON.stringify(b[field] ?? null))
    .map((field) => ({ field, a: a[field] ?? null, b: b[field] ?? null }));
}
