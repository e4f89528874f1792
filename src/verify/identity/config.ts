// What a config makes the forward pass compute, as a seal holds it.
import { type JsonObject, parseJson } from "../../base/json.ts";
import type { Family } from "../../family/family.ts";
import { hashOfFields, mathematics, mathematicsHash } from "../../family/mathematics.ts";

/** Facts of a model's mathematics by name: effective inverse frequencies, eps, scales, sizes. */
export type Mathematics = Readonly<Record<string, unknown>>;

export interface ConfigIdentity {
  /** Of family and mathematics, in hex. */
  readonly sha256: string;
  readonly mathematics: Mathematics;
  /** config.json as Hugging Face has it: what names differences, and reads a checkpoint that carries none. */
  readonly json: JsonObject;
}

export function configIdentity(family: Family): ConfigIdentity {
  const fields = [...mathematics(family)].map(([name, text]) => [name, parseJson(text)] as const);
  return { sha256: mathematicsHash(family), mathematics: Object.fromEntries(fields), json: family.hfConfig() };
}

/** The hash of mathematics as a seal has them. */
export const mathematicsHashOf = (family: string, written: Mathematics): string =>
  hashOfFields(family, new Map(Object.entries(written).map(([name, value]) => [name, JSON.stringify(value)])));
