// What to do about a path where nothing is: names of the Hub, addresses, `~` in quotes, slips of the keyboard.
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { isAddress } from "../base/addresses.ts";
import { nearestKey } from "../base/near.ts";
import { CONFIG_NAMES } from "../formats/file-names.ts";
import { DiskFolder } from "../formats/io/disk-folder.ts";
import type { Folder, Location } from "../formats/io/folder.ts";

const NAME = "[A-Za-z0-9][\\w.-]*";
const HUB_NAME = new RegExp(`^${NAME}/${NAME}(?:@[^/]+)?$`);
/** Of a page: a repository, and in it perhaps a revision and a path. */
const HUB_PAGE = new RegExp(
  `^https?://(?:www\\.)?(?:huggingface\\.co|hf\\.co)/(?:models/)?(${NAME}/${NAME})(?:/(?:tree|blob|resolve)/([^/?#]+)(/[^?#]*)?)?`,
);

const exists = (path: string): boolean => new DiskFolder(dirname(path)).kind(basename(path)) !== null;

/** The next step, in words. @param otherwise where nothing better is known */
export function wayTo(location: Location, otherwise: string): string {
  const { path, folder, file } = location;
  if (/^~(?:[\\/]|$)/.test(path)) {
    const meant = join(homedir(), path.slice(1));
    return `the shell leaves ~ as it is in quotes: write ${exists(meant) ? meant : '"$HOME/…", or the path without quotes'}`;
  }
  const [page, name, revision, inside = ""] = HUB_PAGE.exec(path) ?? [];
  if (page !== undefined) return onHub(`${name}${revision === undefined ? "" : `@${revision}`}${inside}`);
  const place = folder.diskPathOf();
  if (place !== null && !exists(place)) {
    if (isAddress(path)) return "fetch it first, and give the path that it has on this machine";
    return HUB_NAME.test(path) ? `if you mean the model of that name on the Hub, ${onHub(path)}` : otherwise;
  }
  const near = file === null ? undefined : nearestKey(file, folder.list());
  return near === undefined ? otherwise : `did you mean ${folder.pathOf(near)}?`;
}

const onHub = (name: string): string => `write hf://${name.replace(/\/+$/, "")}`;

/** A model's config in a folder above that of its weights; undefined where there is none, or the folder is not on disk. */
export function configAbove(folder: Folder): string | undefined {
  const place = folder.diskPathOf();
  if (place === null) return undefined;
  const above = [dirname(resolve(place)), dirname(dirname(resolve(place)))];
  return above.map((each) => join(each, CONFIG_NAMES[0])).find((path) => exists(path));
}
