import { cleanDocument } from "../../../report/views/clean.ts";
import type { Command } from "../../command.ts";
import { flag } from "../../options.ts";

/** Removes only what this tool made and no process holds; a former target is put back, never deleted with the rest. */
export const clean: Command = {
  usage: "clean <path>",
  describe: "List and remove what killed runs left there: unfinished outputs beside a target or in a folder",
  positionals: { path: "a conversion's target, or the folder that holds it" },
  options: { "dry-run": flag("Only list what would be removed") },
  examples: [
    ["clean my-model", "what a stopped conversion to my-model left"],
    ["clean . --dry-run", "all of this folder, untouched"],
  ],
  async run(args) {
    const { cleanLeftover, leftoversAt } = await import("../../../output/leftovers.ts");
    const path = args.required("path");
    const leftovers = leftoversAt(path);
    return cleanDocument(path, args.flag("dry-run") ? leftovers : leftovers.map(cleanLeftover));
  },
};
