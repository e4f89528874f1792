// Whether a folder could be uploaded to the Hub as it is, and loaded from there.
import type { Check } from "../../base/check.ts";
import { leftoversAt } from "../../output/leftovers.ts";
import { failed, notChecked, passed, some } from "../block.ts";
import type { OpenSide } from "../sides.ts";
import { companionChecks } from "./companions.ts";
import { filesIn } from "./files.ts";
import { weightFileChecks } from "./weights.ts";

const READY = "ready for the Hub";
/** What downloads and writers leave that did not end. */
const UNFINISHED = /\.(?:tmp|part|partial|incomplete|crdownload)$/i;

/** @param sides all that could be read; of those, folders in Hugging Face's layout are looked at */
export async function hubChecks(sides: readonly OpenSide[]): Promise<Check[]> {
  const hf = sides.filter(({ model }) => model.layout.side === "hf" && model.checkpoint.savedBy === undefined);
  const [ranks] = sides.filter(({ model }) => model.checkpoint.savedBy !== undefined);
  if (hf.length === 0) {
    const why =
      ranks === undefined
        ? "no side is in Hugging Face's layout"
        : `${ranks.path} is what ranks left, and goes to no Hub as it is`;
    return [notChecked(READY, why)];
  }
  const folders = hf.filter(({ checkpoint }) => checkpoint.path === checkpoint.folder.path);
  const single = hf.filter((side) => !folders.includes(side));
  const checks = await Promise.all(folders.map((side) => ofFolder(side, folders.length > 1)));
  return [
    ...checks.flat(),
    ...single.map(({ path }) => notChecked(READY, `${path} is one file, no folder of a model`)),
  ];
}

async function ofFolder({ path, model }: OpenSide, isOneOfSeveral: boolean): Promise<Check[]> {
  const checks = [...(await companionChecks(model)), ...weightFileChecks(model), leftovers(path, model)];
  return isOneOfSeveral ? checks.map((check) => ({ ...check, name: `${path}: ${check.name}` })) : checks;
}

function leftovers(path: string, { checkpoint: { folder } }: OpenSide["model"]): Check {
  const name = "no file is left from a run that did not end";
  const onDisk = folder.diskPathOf() === null ? [] : leftoversAt(path);
  const found = [
    ...onDisk.map((each) => `${each.path} (${each.state})`),
    ...filesIn(folder).filter((file) => UNFINISHED.test(file)),
  ];
  return found.length === 0
    ? passed(name)
    : failed(name, `${some(found)}; \`convert-checkpoint clean ${path}\` lists what is ours and removes it`);
}
