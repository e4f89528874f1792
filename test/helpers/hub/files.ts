// Folders of the disk as files of a repository.
import { readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { FileContents } from "./repos.ts";

/** All files below a folder, read where they lie. @param into a folder of the repository */
export function filesOf(directory: string, into = ""): FileContents {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    entries.map(({ parentPath, name }) => {
      const disk = join(parentPath, name);
      const path = relative(directory, disk).split(sep).join("/");
      return [into === "" ? path : `${into}/${path}`, { disk }];
    }),
  );
}
