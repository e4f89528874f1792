// What to do about a path where nothing is: names of the Hub, addresses, `~` in quotes, slips of the keyboard.
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { nearestKey } from "../base/near.ts";
import { CONFIG_NAMES } from "../formats/file-names.ts";
import { DiskFolder } from "../formats/io/disk-folder.ts";
import type { Folder, Location } from "../formats/io/folder.ts";

const NAME = "[A-Za-z0-9][\\w.-]*";
const HUB_NAME = new RegExp(`^${NAME}/${NAME}$`);
const HUB_ADDRESS = new RegExp(
  `^(?:hf://|https?://(?:www\\.)?(?:huggingface\\.co|hf\\.co)/)(?:models/)?(${NAME}/${NAME})`,
);

const exists = (path: string): boolean => new DiskFolder(dirname(path)).kind(basename(path)) !== null;

/** The next step, in words. @param otherwise where nothing better is known */
export function wayTo(location: Location, otherwise: string): string {
  const { path, folder, file } = location;
  if (/^~(?:[\\/]|$)/.test(path)) {
    const meant = join(homedir(), path.slice(1));
    return `the shell leaves ~ as it is in quotes: write ${exists(meant) ? meant : '"$HOME/…", or the path without quotes'}`;
  }
  const [, named] = HUB_ADDRESS.exec(path) ?? [];
  if (named !== undefined) return fromHub(named);
  if (/^[a-z][\w+.-]*:\/\//i.test(path)) return "fetch it first, and give the path that it has on this machine";
  const place = folder.diskPathOf();
  if (place !== null && !exists(place)) return HUB_NAME.test(path) ? fromHub(path) : otherwise;
  const near = place === null || file === null ? undefined : nearestKey(file, folder.list());
  return near === undefined ? otherwise : `did you mean ${folder.pathOf(near)}?`;
}

function fromHub(name: string): string {
  const folder = name.split("/")[1] ?? name;
  return `if you mean the model of that name on the Hub, fetch it first: hf download ${name} --local-dir ${folder}; then give ${folder}`;
}

/** A model's config in a folder above that of its weights; undefined where there is none, or the folder is not on disk. */
export function configAbove(folder: Folder): string | undefined {
  const place = folder.diskPathOf();
  if (place === null) return undefined;
  const above = [dirname(resolve(place)), dirname(dirname(resolve(place)))];
  return above.map((each) => join(each, CONFIG_NAMES[0])).find((path) => exists(path));
}
