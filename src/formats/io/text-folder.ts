// A text at hand as if it were the only file of a folder.
import { fileMissing } from "./file-faults.ts";
import type { Location, SourceFile } from "./folder.ts";

/** @param path what messages call the folder */
export function textAt(path: string, name: string, text: string): Location {
  const bytes = Buffer.from(text, "utf8");
  const folder = {
    path,
    list: () => [name],
    kind: (asked: string) => (asked === name ? ("file" as const) : null),
    open: (asked: string, shown = `${path}, ${asked}`): SourceFile => {
      if (asked !== name) throw fileMissing(shown);
      return {
        name: shown,
        byteLength: bytes.length,
        version: `${bytes.length}`,
        read: (position, target) => target.set(bytes.subarray(position, position + target.length)),
        check: () => undefined,
        close: () => undefined,
      };
    },
    folder: (asked: string): never => {
      throw fileMissing(`${path}, ${asked}`);
    },
    pathOf: (asked: string) => `${path}, ${asked}`,
    diskPathOf: () => null,
  };
  return { path: `${path}, ${name}`, folder, file: name };
}
