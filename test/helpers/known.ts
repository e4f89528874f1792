// Acceptance of all that a family's upstreams are known to compute otherwise.
import { adapters } from "../../adapters/registry.ts";
import type { Acceptance } from "../../src/parity/verdict/accepted.ts";

export const everyKnown = (family: string): Acceptance[] =>
  (adapters.find((each) => each.family === family)?.known ?? []).map(({ code }) => ({ code }));

/** The same as options of the command. */
export const acceptEvery = (family: string): string[] => everyKnown(family).map(({ code }) => `--accept-known=${code}`);
