// Which versions of upstream a comparison follows: the same on both sides, or each side would be another model.

import { bound } from "../family/family.ts";
import { CHECKED, isSince, PROJECTS, type Project, type Upstream, type UpstreamChange } from "../family/upstream.ts";
import type { ParityModel } from "./side.ts";

/** The versions of upstream's code whose mathematics was run. */
export interface VersionsReport {
  readonly versions: readonly {
    readonly project: Project;
    readonly version: string;
    /** Whether it was asked for; else it is the config's, or the newest one checked. */
    readonly given: boolean;
    /** Versions whose own forward passes were compared with the graphs. */
    readonly checked: readonly string[];
  }[];
  /** Where versions disagree on this model, and what the chosen one does. */
  readonly changes: readonly {
    readonly code: string;
    readonly project: Project;
    readonly does: string;
    /** What versions on the other side of the change do. */
    readonly otherwise: string;
    readonly permalink: string;
  }[];
}

/** The sides at one choice of versions: those given, else those of the HF side's config, else of the first side's. */
export function atVersions(
  sides: readonly ParityModel[],
  given: Partial<Upstream> = {},
): { readonly sides: readonly ParityModel[]; readonly report: VersionsReport } {
  const [first] = sides;
  const { family } = sides.find(({ layout }) => layout.side === "hf") ?? first!;
  const upstream = { ...family.upstream, ...given };
  return {
    sides: sides.map((side) => sideAt(side, upstream)),
    report: {
      versions: PROJECTS.map((project) => ({
        project,
        version: upstream[project],
        given: given[project] !== undefined,
        checked: CHECKED[project],
      })),
      changes: family.changes.map((change) => {
        const { code, project, before, after, permalink } = change;
        const [does, otherwise] = isSince(upstream[project], change) ? [after, before] : [before, after];
        return { code, project, does, otherwise, permalink };
      }),
    },
  };
}

function sideAt<M extends ParityModel>(side: M, upstream: Upstream): M {
  if (PROJECTS.every((project) => side.family.upstream[project] === upstream[project])) return side;
  const family = side.family.at(upstream);
  return { ...side, family, layout: bound(family, side.layout) };
}

/** A side's forward pass as versions on the other side of a change of its trainer's compute it, for each that concerns it. */
export const otherVersions = (side: ParityModel) =>
  changesOf(side).map((change) => {
    const { family, layout } = side;
    const version = otherVersion(change, family.upstream[change.project]);
    return { change, version, forward: bound(family.at({ [change.project]: version }), layout).forward() };
  });

/** Changes of its trainer that a side's forward pass shows. */
export const changesOf = ({ family, layout }: ParityModel): readonly UpstreamChange[] =>
  family.changes.filter(({ project, stores }) => project === layout.trainer && stores === undefined);

const otherVersion = (change: UpstreamChange, version: string): string =>
  isSince(version, change) ? change.lastBefore : (change.release ?? change.day);
