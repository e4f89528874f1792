// The card of a folder, written there without a push.
import { join } from "node:path";
import { UsageError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { CONFIG_LIMIT, has, readText } from "../formats/io/folder.ts";
import { writeOneFile } from "../output/one-file.ts";
import { baseModelOf, cardSection } from "./card/card.ts";
import { readmeWith } from "./card/readme.ts";
import { CARD_NAME } from "./card/section.ts";
import { type FactsOptions, factsOf } from "./facts.ts";
import { checkFolder } from "./refusals.ts";
import { aboutOf, type Told } from "./told.ts";

/** The JSON document of `push --card`. */
export interface CardWritten extends Told {
  readonly verdict: "pass";
  /** Path of README.md. */
  readonly file: string;
  readonly notes: readonly string[];
  readonly seconds: number;
}

/**
 * Our section in the folder's README.md, which is made where there is none; nothing else in it changes.
 * Throws UsageError PUSH_NOT_A_FOLDER, CARD_PLACE; InputError CARD_MARKERS, TARGET_UNSAFE, EVIDENCE_FOREIGN; what sealing, reading and writing throw.
 *
 * @param repository where the folder will go, as `hf://owner/name`; null where nobody said
 */
export async function writeCard(
  checkpoint: Checkpoint,
  repository: string | null,
  options: FactsOptions,
): Promise<CardWritten> {
  const begin = performance.now();
  const { folder, path } = checkpoint;
  const place = folder.diskPathOf();
  checkFolder(checkpoint);
  if (place === null) {
    throw new UsageError("CARD_PLACE", `${path}: no folder that a card could be written into`, {
      expected: "a folder on this disk",
      found: "a place elsewhere",
      help: "convert or download it first",
    });
  }
  const facts = await factsOf(checkpoint, options);
  const section = cardSection({ model: facts.model, repository, evidence: facts.evidence });
  const own = has(folder, CARD_NAME) ? readText(folder, CARD_NAME, CONFIG_LIMIT) : null;
  const text = readmeWith({ base: own, change: "section", notes: [] }, section, {
    title: facts.model.name,
    baseModel: baseModelOf(facts.evidence),
    isTransformers: has(folder, "config.json") && checkpoint.format === "safetensors",
  });
  const file = join(place, CARD_NAME);
  writeOneFile({ path: file, text, force: true, noun: "model card", isOfKind: () => true });
  return {
    verdict: "pass",
    ...aboutOf(checkpoint, facts, section),
    file,
    notes: facts.notes,
    seconds: (performance.now() - begin) / 1e3,
  };
}
