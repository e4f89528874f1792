// What killed and stopped runs left beside a target: found, told, and removed.
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { entriesOf, foreignEntries, homeOf, isHomeName } from "./home.ts";
import { appendRelease, JOURNAL_NAME, type Journal, readJournal } from "./journal.ts";
import { leftParts, removeParts } from "./parts/leftover.ts";
import { isPartsHomeName, partsHomeOf } from "./parts/place.ts";
import { bytesBelow } from "./planned-files.ts";
import { writing } from "./staging-errors.ts";
import { claimHome, recoverTarget, removeHome } from "./swap.ts";

export interface Leftover {
  /** The hidden folder. */
  readonly path: string;
  /** The target that it was made for. */
  readonly target: string;
  /** `unfinished`: can be continued or removed. `running`: a process holds it. `foreign`: it has what we do not make. */
  readonly state: "unfinished" | "running" | "foreign";
  /** Of all files in it. */
  readonly bytes: number;
  /** Bytes of the output that `--resume` need not write again. */
  readonly resumableBytes: number;
  /** Path of a former target, whole, that it holds; null where it holds none. */
  readonly former: string | null;
  /** Process that holds it. */
  readonly process: number | null;
  /** Which parts are done and which are not, in words, where parts are made there; null of a whole output. */
  readonly parts: string | null;
}

/**
 * What was left for a target, or for the targets in a folder, or the hidden folder itself where that is named; sorted.
 * Touches nothing. Throws EnvironmentError where it cannot be looked at.
 */
export function leftoversAt(path: string): Leftover[] {
  const place = resolve(path);
  return writing(place, () => {
    const inside = fs.statSync(place, { throwIfNoEntry: false })?.isDirectory() ? fs.readdirSync(place) : [];
    const isOurs = (name: string) => isHomeName(name) || isPartsHomeName(name);
    const homes = [
      ...(isOurs(basename(place)) ? [place] : [homeOf(place), partsHomeOf(place)]),
      ...inside.filter(isOurs).map((name) => join(place, name)),
    ];
    return homes
      .filter((home) => fs.lstatSync(home, { throwIfNoEntry: false })?.isDirectory())
      .map((home) => (isPartsHomeName(basename(home)) ? partsIn(home, false) : leftoverIn(home)));
  });
}

function partsIn(home: string, touches: boolean): Leftover {
  const { target, state, bytes, text } = leftParts(home, touches);
  return {
    path: home,
    target: target ?? "",
    state,
    bytes,
    resumableBytes: state === "foreign" ? 0 : bytes,
    former: null,
    process: null,
    parts: text,
  };
}

function leftoverIn(home: string): Leftover {
  const names = entriesOf(home);
  const journal = readable(home);
  const target = journal?.target == null ? null : join(dirname(home), journal.target);
  const isOurs = target !== null && homeOf(target) === home && foreignEntries(home).length === 0;
  const holder = journal?.holder ?? null;
  const former = isOurs ? names.find((name) => isFormer(home, name, journal!)) : undefined;
  const progress = [...(journal?.progress.values() ?? [])];
  return {
    path: home,
    target: target ?? "",
    state: isOurs ? (holder === null ? "unfinished" : "running") : "foreign",
    bytes: bytesBelow(home),
    resumableBytes: isOurs ? progress.reduce((sum, { bytes }) => sum + bytes, 0) : 0,
    former: former === undefined ? null : join(home, former),
    process: holder?.pid ?? null,
    parts: null,
  };
}

function readable(home: string): Journal | null {
  if (!entriesOf(home).includes(JOURNAL_NAME)) return null;
  try {
    return readJournal(home);
  } catch {
    return null; // It is no file of ours.
  }
}

function isFormer(home: string, name: string, { swaps }: Journal): boolean {
  if (name.startsWith("old-")) return true;
  const swap = swaps.find(({ run }) => name === `swap-${run}`);
  return swap !== undefined && `${fs.lstatSync(join(home, name), { bigint: true }).ino}` !== swap.inode;
}

export interface Cleaned extends Leftover {
  /** `restored`: what stood at the target stands there again, and the rest is removed. */
  readonly done: "removed" | "restored" | "kept";
  /** Why it is kept; null where it is not. */
  readonly reason: string | null;
}

/**
 * Removes what was left, but for what a process holds and what is not ours. A former target goes back to its name where
 * nothing stands there; it is deleted where the new one replaced it, and kept where something else did.
 * Throws EnvironmentError where the folder cannot be written.
 */
export function cleanLeftover(leftover: Leftover): Cleaned {
  const kept = (reason: string): Cleaned => ({ ...leftover, done: "kept", reason });
  if (leftover.parts !== null && leftover.state !== "foreign") return cleanParts(leftover);
  const { path, target, state, process: holder } = leftover;
  if (state === "foreign") return kept("it holds what this tool does not make: look at it, and remove it yourself");
  if (state === "running") return kept(`process ${holder} is writing to it`);
  return writing(path, () => {
    const claim = claimHome(path, target);
    const { isRestored, kept: former } = recoverTarget(path, target);
    const left = former === null ? removeHome(path) : null;
    if (former === null && left === null)
      return { ...leftover, done: isRestored ? "restored" : "removed", reason: null };
    appendRelease(path, claim);
    if (left !== null) return kept(`${left} cannot be deleted: check its permissions`);
    return kept(`${former} is what stood at ${target}, where something else stands now: move it to where you want it`);
  });
}

/** Looked at again: parts may have begun on other machines. */
function cleanParts({ path }: Leftover): Cleaned {
  const now = partsIn(path, true);
  if (now.state === "unfinished") removeParts(path);
  return now.state === "unfinished"
    ? { ...now, done: "removed", reason: null }
    : {
        ...now,
        done: "kept",
        reason: `${now.parts}: stop what is under way, or wait until it has said nothing for two minutes`,
      };
}
