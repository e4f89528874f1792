// What the user lets go with --allow-drop: which tensors that is, and globs that let nothing go.
import { UsageError } from "../base/errors.ts";
import { globMatcher, nearGlob } from "../base/globs.ts";
import type { Model } from "../model/model.ts";

export interface Waivers {
  readonly globs: readonly string[];
  /** Whether the user lets a tensor go, whatever its values. */
  readonly isWaived: (key: string) => boolean;
}

export function waiversOf(globs: readonly string[] = []): Waivers {
  const matchers = globs.map(globMatcher);
  return { globs, isWaived: (key) => matchers.some((matches) => matches(key)) };
}

/**
 * Throws UsageError DROP_GLOB_UNMATCHED for a glob that no tensor matches.
 * @param between keys of tensors on the way, where a conversion goes through another layout
 */
export function checkWaivers({ globs }: Waivers, model: Model, between: () => readonly string[]): void {
  if (globs.length === 0) return;
  const keys = keysOf(model);
  for (const glob of globs) {
    const matches = globMatcher(glob);
    if (keys.some(matches) || between().some(matches)) continue;
    const near = nearGlob(glob, keys);
    throw new UsageError("DROP_GLOB_UNMATCHED", `--allow-drop ${glob}: no tensor matches`, {
      found: glob,
      help: `write a pattern over keys of the source, as \`inspect\` lists them${near === undefined ? "" : `; the nearest is "${near}"`}`,
    });
  }
}

/** Of tensors that a glob matches and that are not lost: they have a place, or are a part of one that has. */
export function keptNote({ globs, isWaived }: Waivers, model: Model, dropped: ReadonlySet<string>): string[] {
  if (globs.length === 0) return [];
  const [first, ...others] = [...new Set(keysOf(model))].filter((key) => isWaived(key) && !dropped.has(key));
  if (first === undefined) return [];
  if (others.length === 0) return [`"${first}" matches --allow-drop and has a place: it is kept`];
  return [`"${first}" and ${others.length} more match --allow-drop and have a place: they are kept`];
}

/** Tensors, logical and stored, trainer state among them. */
const keysOf = ({ source, checkpoint }: Model): string[] => [
  ...source.tensors.keys(),
  ...checkpoint.tensors.keys(),
  ...checkpoint.others.map(({ key }) => key),
];
