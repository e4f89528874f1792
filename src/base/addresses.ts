// What names a file or a folder: a path on disk, or the address of one elsewhere.
import { resolve } from "node:path";

const ADDRESS = /^([a-z][a-z0-9+.-]+):\/\//i;

/** In lower case; null of a path on disk. */
export const schemeOf = (text: string): string | null => ADDRESS.exec(text)?.[1]?.toLowerCase() ?? null;

export const isAddress = (text: string): boolean => ADDRESS.test(text);

/** A path as it is from the root on; an address is whole as it is. */
export const wholePath = (path: string): string => (isAddress(path) ? path.replace(/\/+$/, "") : resolve(path));
