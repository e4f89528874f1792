// What parts of other work than a conversion leave behind: documents in a folder that the user names.
import { join } from "node:path";
import { makeFolders, writing } from "../staging-errors.ts";
import { writeText } from "./documents.ts";

/** Writes a document whole; one of that name is the same document of an earlier run. The folder is made where it is not there. */
export function writeMade(folder: string, name: string, text: string): void {
  writing(folder, () => makeFolders(folder));
  writeText(join(folder, name), text);
}
