// What may stand at a target: nothing, an empty folder, or with `force` a checkpoint that is not being read.
import fs from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, parse, relative, resolve, sep } from "node:path";
import { EnvironmentError, InputError } from "../base/errors.ts";
import type { OutputFile } from "../formats/output.ts";
import { type Contents, contentsOf } from "./replaceable.ts";
import { writing } from "./staging-errors.ts";

export interface TargetCheck {
  readonly force: boolean;
  /** All paths that the conversion reads; of a folder, nothing that stands in it may be a target either. */
  readonly reads: readonly string[];
  /** What will be written: a file of any name that is there already, byte for byte, is not lost. */
  readonly writes?: readonly OutputFile[];
}

/** What stands at a target and may go; `contents` is null for an empty folder and for a link, which alone goes. */
export interface Standing {
  readonly kind: "empty folder" | "link" | "checkpoint";
  readonly contents: Contents | null;
}

/**
 * Looks at what stands at a target before it is replaced; null where nothing does. Touches nothing.
 * Throws InputError TARGET_UNSAFE for what must not be replaced, with or without `force`, and TARGET_EXISTS without
 * `force` for anything but an empty folder; EnvironmentError where it cannot be looked at.
 */
export function checkTarget(path: string, { force, reads, writes = [] }: TargetCheck): Standing | null {
  const target = resolve(path);
  return writing(target, () => {
    refuseSystemPlaces(target);
    const stats = fs.lstatSync(target, { throwIfNoEntry: false });
    if (stats === undefined) return null;
    refuseFolders(target, stats);
    refuseReads(target, reads);
    const end = stats.isSymbolicLink() ? fs.statSync(target, { throwIfNoEntry: false }) : stats;
    if (end !== undefined && !end.isFile() && !end.isDirectory()) {
      throw unsafe(target, "is neither a regular file nor a folder", `a ${kindOf(end)}`);
    }
    if (stats.isSymbolicLink()) return force ? { kind: "link", contents: null } : failExists(target, OR_FORCE);
    if (stats.isDirectory() && fs.readdirSync(target).length === 0) return { kind: "empty folder", contents: null };
    const contents = contentsOf(target, writes);
    const isReplaceable = contents.isCheckpoint && contents.foreign.length === 0;
    if (!force) return failExists(target, isReplaceable ? OR_FORCE : NO_FORCE);
    if (!isReplaceable) throw notACheckpoint(target, contents);
    if (stats.isDirectory()) refuseLocked(target);
    return { kind: "checkpoint", contents };
  });
}

/** Throws InputError TARGET_EXISTS. */
export function failExists(
  target: string,
  help: string,
  expected = "a path that does not exist, or an empty folder",
): never {
  throw new InputError("TARGET_EXISTS", `${target}: the target exists`, {
    file: target,
    expected,
    help,
  });
}

/** A folder whose entries cannot be deleted, of another owner perhaps, shows before hours of work instead of after. */
function refuseLocked(target: string): void {
  const entries = fs.readdirSync(target, { recursive: true, withFileTypes: true });
  const inside = entries.filter((entry) => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  for (const folder of [target, ...inside]) {
    try {
      fs.accessSync(folder, fs.constants.W_OK | fs.constants.X_OK);
    } catch (cause) {
      throw new EnvironmentError(
        "PERMISSION_DENIED",
        `${folder}: what is in it cannot be deleted, so ${target} not replaced`,
        {
          file: folder,
          expected: "a folder that may be written",
          help: "change its permissions, or choose another target",
          cause,
        },
      );
    }
  }
}

const OR_FORCE = "choose another target, or replace this one with --force";
const NO_FORCE = "choose another target: this one is not recognisably a checkpoint, and nothing else is ever replaced";

const NAMES_SHOWN = 5;

/** Names as they are told to people: the first few, and how many more. */
export function firstNames(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return names.slice(0, NAMES_SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function unsafe(target: string, problem: string, found: string, help = "choose another target"): InputError {
  const expected = "a path that does not exist, an empty folder, or with --force a checkpoint that is not being read";
  return new InputError("TARGET_UNSAFE", `${target}: ${problem}`, { file: target, expected, found, help });
}

function notACheckpoint(target: string, { foreign, files }: Contents): InputError {
  if (foreign.length === 0) return unsafe(target, "holds no weights, so it is no checkpoint", firstNames(files));
  return unsafe(
    target,
    `is not recognisably a checkpoint: replacing it would delete ${firstNames(foreign)}`,
    foreign.length === 1 ? "1 entry that is no part of one" : `${foreign.length} entries that are no part of one`,
    "choose another target, or move away yourself what is in the way",
  );
}

function kindOf(stats: fs.Stats): string {
  if (stats.isFIFO()) return "pipe";
  if (stats.isSocket()) return "socket";
  return "device";
}

/** File system type of procfs: include/uapi/linux/magic.h, PROC_SUPER_MAGIC. */
const PROC_MAGIC = 0x9fa0;

/**
 * File systems of the kernel, where nothing can be kept. A recursive mkdir in procfs never returns.
 */
function refuseSystemPlaces(target: string): void {
  let folder = dirname(target);
  while (!fs.existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const place = join(realpath(folder), relative(folder, target));
  const isDevice = isWithin(place, "/dev") && !isWithin(place, "/dev/shm");
  if (!isDevice && !isWithin(place, "/proc") && fs.statfsSync(folder).type !== PROC_MAGIC) return;
  throw unsafe(target, "is a place of the operating system, not of files", place);
}

/** The root, the home and the current directory, and what holds them; a folder that a file system is mounted on. */
function refuseFolders(target: string, stats: fs.Stats): void {
  if (parse(target).root === target) throw unsafe(target, "is the root of the file system", "a root");
  const places = placesOf(target);
  const held = [process.cwd(), homedir()].find((path) => isAnyWithin(placesOf(path), places));
  if (held !== undefined) throw unsafe(target, `replacing it would delete ${held}`, held);
  if (stats.isDirectory() && stats.dev !== fs.lstatSync(dirname(target)).dev) {
    throw unsafe(target, "is a mount point, which cannot be replaced", "a mount point", "name a folder inside it");
  }
}

function refuseReads(target: string, reads: readonly string[]): void {
  const { dev, ino } = fs.lstatSync(target, { bigint: true });
  const places = placesOf(target);
  for (const path of reads) {
    const stats = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
    const others = placesOf(path);
    // The same file under another spelling or another hard link.
    const isSame = stats !== undefined && stats.ino !== 0n && stats.dev === dev && stats.ino === ino;
    if (isSame || isAnyWithin(others, places)) {
      throw unsafe(target, `replacing it would delete ${path}, which is read`, path);
    }
    if (stats?.isDirectory() && isAnyWithin(places, others)) {
      throw unsafe(target, `stands in ${path}, which is read`, path, "choose a target that does not exist yet");
    }
  }
}

const isAnyWithin = (paths: readonly string[], folders: readonly string[]): boolean =>
  paths.some((path) => folders.some((folder) => isWithin(path, folder)));

/** A chain of links is no longer than this on Linux: fs/namei.c, MAXSYMLINKS. */
const MAX_LINKS = 40;

/** The places that a path names: as it is written, each link on its way, and where it ends. */
function placesOf(path: string): string[] {
  let at = resolve(path);
  const places = new Set([at]);
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    const place = join(realpath(dirname(at)), basename(at));
    places.add(place);
    if (!fs.lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink()) break;
    at = resolve(dirname(place), fs.readlinkSync(place));
  }
  return [...places.add(realpath(path))];
}

const realpath = (path: string): string => (fs.existsSync(path) ? fs.realpathSync.native(path) : resolve(path));

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way === "" || !(way === ".." || way.startsWith(`..${sep}`) || resolve(way) === way);
}
