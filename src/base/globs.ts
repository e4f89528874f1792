// Patterns over tensor keys.
import picomatch from "picomatch";
import { UsageError } from "./errors.ts";
import { nearestKey } from "./near.ts";

/** Matches tensor keys: `*` spans dots, as keys have no directories. */
export function globMatcher(glob: string): (key: string) => boolean {
  if (glob !== "") {
    const matcher = picomatch(glob, { dot: true, bash: true });
    // The matcher takes a second argument, which `some` and `filter` would fill.
    return (key) => matcher(key);
  }
  throw new UsageError("GLOB_EMPTY", "an empty pattern matches no tensor", {
    help: "write a pattern over tensor keys, such as 'layers.*.rotary_emb.inv_freq'",
  });
}

/** The key that a glob without a match comes nearest to; undefined where none is near. */
export function nearGlob(glob: string, keys: Iterable<string>): string | undefined {
  const kinds = new Map<string, string>();
  const length = glob.split(".").length;
  for (const key of keys) {
    const segments = key.split(".");
    // The last star of `layers.*.attention.*` spans the rest of a key.
    const shown = glob.endsWith("*") ? [...segments.slice(0, length - 1), "*"] : segments;
    const kind = kindOf(shown.join("."));
    if (!kinds.has(kind)) kinds.set(kind, key);
  }
  const near = nearestKey(kindOf(glob), kinds.keys());
  return near === undefined ? undefined : kinds.get(near);
}

/** Whatever the indices. */
const kindOf = (text: string): string => text.replaceAll(/(?<=^|\.)(?:\d+|\*)(?=\.)/g, "#");
