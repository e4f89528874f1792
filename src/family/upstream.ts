// Versions of the projects whose code the forward graphs follow. Where two versions compute different things, a family
// names the change once, and its graphs ask which side of it they are on.
import type { Dtype } from "../base/dtype.ts";
import { UsageError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";

export const PROJECTS = ["transformers", "torchtitan"] as const;
export type Project = (typeof PROJECTS)[number];

/** A release (`5.24`, `5.24.0`), a day of the main branch (`2026-08-21`), or `main`: its newest day. */
export type Version = string;

/** The version of each project that graphs follow. */
export type Upstream = Readonly<Record<Project, Version>>;

/** Versions whose own forward passes the goldens of the fixtures were compared with, oldest first. */
export const CHECKED: Readonly<Record<Project, readonly Version[]>> = {
  transformers: ["5.23.0", "5.24.0"],
  torchtitan: ["0.3.0"],
};

/** What a project computed, or stored, up to one version and otherwise after it. */
export interface UpstreamChange {
  /** `POSITION_TABLE_IN_TRANSFORMERS` */
  readonly code: string;
  readonly project: Project;
  /** Last release that has the old way. It counts as far as it is written: after `5.23` comes 5.24, not 5.23.1. */
  readonly lastBefore: Version;
  /** First release with the new way; null where there is none yet. */
  readonly release: Version | null;
  /** First day of the main branch with the new way. */
  readonly day: Version;
  /** For a change of files alone, which no forward pass shows: tensors of `hf` that it is about, by the end of their keys. */
  readonly stores?: { readonly ending: string; readonly dtype: Dtype } | undefined;
  readonly before: string;
  readonly after: string;
  /** Permalink to the change, or to the lines after it. */
  readonly permalink: string;
}

const RELEASE = /^v?(\d+(?:\.\d+){0,3})(?:[.-]?(?:dev|rc|post|a|b)\d*.*|\+.*)?$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

const isVersion = (text: string): boolean => text === "main" || DAY.test(text) || RELEASE.test(text);

/** Whether a version has a change. */
export function isSince(version: Version, { lastBefore, day }: Pick<UpstreamChange, "lastBefore" | "day">): boolean {
  if (version === "main") return true;
  if (DAY.test(version)) return version >= day;
  const [mine, last] = [numbers(version), numbers(lastBefore)];
  const at = last.findIndex((part, i) => (mine[i] ?? 0) !== part);
  return at >= 0 && (mine[at] ?? 0) > last[at]!;
}

const numbers = (version: Version): number[] => (RELEASE.exec(version)?.[1] ?? "0").split(".").map(Number);

/** The versions that a config tells of: `transformers_version` of HF's. The newest checked one stands in for what it does not tell. */
export function upstreamOf(config: JsonObject): Upstream {
  const saved = config.transformers_version;
  return {
    transformers: typeof saved === "string" && isVersion(saved) ? saved : CHECKED.transformers.at(-1)!,
    torchtitan: CHECKED.torchtitan.at(-1)!,
  };
}

/**
 * Reads `transformers=5.24,torchtitan=main`.
 * @throws UsageError UPSTREAM_USAGE
 */
export function parseUpstream(texts: readonly string[]): Partial<Upstream> {
  const versions = texts
    .flatMap((text) => text.split(","))
    .map((part) => {
      const [project = "", version = "", ...more] = part.trim().split("=");
      const known = PROJECTS.find((name) => name === project);
      if (known === undefined || more.length > 0 || !isVersion(version)) {
        throw new UsageError("UPSTREAM_USAGE", `--upstream: "${part}" names no version`, {
          expected: `${PROJECTS.join("=VERSION or ")}=VERSION; a release (5.24), a day of its main branch (2026-08-21), or main`,
          found: part,
          help: `write it as --upstream transformers=${CHECKED.transformers.at(-1)},torchtitan=main`,
        });
      }
      return [known, version] as const;
    });
  return Object.fromEntries(versions);
}
