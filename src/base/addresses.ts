// What names a file or a folder: a path on disk, or the address of one elsewhere.
import { dirname, isAbsolute, join, posix, resolve } from "node:path";

const ADDRESS = /^([a-z][a-z0-9+.-]+):\/\//i;

/** In lower case; null of a path on disk. */
export const schemeOf = (text: string): string | null => ADDRESS.exec(text)?.[1]?.toLowerCase() ?? null;

export const isAddress = (text: string): boolean => ADDRESS.test(text);

/** A path as it is from the root on; an address is whole as it is. */
export const wholePath = (path: string): string => (isAddress(path) ? path.replace(/\/+$/, "") : resolve(path));

/** A path as it stands in a file: from that file's folder on, unless it is whole by itself. */
export function pathFrom(file: string, path: string): string {
  if (isAbsolute(path) || isAddress(path)) return path;
  const [, root = "", inside = ""] = /^([a-z][a-z0-9+.-]+:\/\/[^/]+)(.*)$/i.exec(file) ?? [];
  return root === "" ? join(dirname(file), path) : root + posix.join("/", posix.dirname(inside), path);
}
