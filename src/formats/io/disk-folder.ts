// Folders on the disks of this machine.
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { schemeOf } from "../../base/addresses.ts";
import { fileFault, isAbsence, orRefuse } from "./file-faults.ts";
import { FilePool } from "./file-pool.ts";
import type { EntryKind, Folder, Location, SourceFile } from "./folder.ts";

/** The limit of descriptors holds for the whole process, so all folders share one pool. */
const POOL = new FilePool();

export class DiskFolder implements Folder {
  constructor(
    readonly path: string,
    private readonly pool: FilePool = POOL,
  ) {}

  list(): readonly string[] {
    return orRefuse(this.path, () => readdirSync(this.path)).sort();
  }

  kind(name: string): EntryKind | null {
    return kindOf(this.pathOf(name));
  }

  open(name: string, shown: string = this.pathOf(name)): SourceFile {
    return this.pool.file(this.pathOf(name), shown);
  }

  folder(name: string): Folder {
    return new DiskFolder(this.pathOf(name), this.pool);
  }

  pathOf(name: string): string {
    return join(this.path, name);
  }

  diskPathOf(name?: string): string {
    return name === undefined ? this.path : this.pathOf(name);
  }
}

function kindOf(path: string): EntryKind | null {
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) return "folder";
    return stats.isFile() ? "file" : "other";
  } catch (cause) {
    if (isAbsence(cause)) return null;
    throw fileFault(path, "cannot be opened", cause);
  }
}

/** A path on the disks of this machine, an address whose scheme somebody serves, or a location anywhere. */
export type PathOrLocation = string | Location;

/** Where an address leads. */
export type Locator = (address: string) => Location;

const LOCATORS = new Map<string, Locator>();

/** From now on, addresses `scheme://…` lead where `locator` says, wherever a path is given. */
export function serveAddresses(scheme: string, locator: Locator): void {
  LOCATORS.set(scheme, locator);
}

/** Where that is. That nothing is there shows when its file is asked for. */
export function locate(at: PathOrLocation): Location {
  if (typeof at !== "string") return at;
  const locator = LOCATORS.get(schemeOf(at) ?? "");
  if (locator !== undefined) return locator(at);
  return kindOf(at) === "folder"
    ? { path: at, folder: new DiskFolder(at), file: null }
    : { path: at, folder: new DiskFolder(dirname(at)), file: basename(at) };
}
