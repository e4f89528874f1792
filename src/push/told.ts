// What the documents of a push and of a card both tell of the model.
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { CardSeal } from "./card/model.ts";
import type { Bond } from "./evidence/bind.ts";
import type { Facts } from "./facts.ts";

export interface Told {
  /** Of the checkpoint, as the user gave it. */
  readonly path: string;
  readonly seal: CardSeal | null;
  readonly evidence: readonly { readonly path: string; readonly sha256: string | null; readonly bond: Bond }[];
  /** Our section of the card. */
  readonly card: string;
}

export const aboutOf = ({ path }: Checkpoint, { model, evidence }: Facts, card: string): Told => ({
  path,
  seal: model.seal,
  evidence: evidence.map(({ report, bond }) => ({ path: report.path, sha256: report.sha256, bond })),
  card,
});
