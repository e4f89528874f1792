// What may be wrong with a model of which only recorded logits are known: a fault that can be undone, or another config.
import type { JsonObject } from "../../base/json.ts";
import type { Family } from "../../family/family.ts";
import { UNDOINGS } from "../../faults/undo/all.ts";
import type { Reach } from "../../faults/undo/reach.ts";
import { type Edit, type Hints, suspectsOf } from "../../faults/undo/undoing.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import { otherConfigs } from "./config.ts";

/** A model as Hugging Face has it. */
export interface Candidate {
  readonly family: Family;
  readonly source: TensorSource;
  /** Tensors that are other than those of the checkpoint. */
  readonly edited: ReadonlySet<string>;
}

export interface Hypothesis {
  /** As reports call the fault: `cause.code`. */
  readonly code: string;
  /** Tensors in short, or the field. */
  readonly place: string;
  /** What is undone there: `halves from pairs`, `1000000 → 10000`. */
  readonly how: string;
  readonly tensors: readonly string[];
  readonly fields: readonly string[];
  /** Continues a sentence that begins with the place. */
  readonly words: string;
  readonly mend: string;
  readonly edits: ReadonlyMap<string, Edit>;
  /** Whether undoing it leaves rounding in a narrow type: the right numbers are not in the checkpoint. */
  readonly isRounded?: boolean;
  /** Where the config is another. */
  readonly family?: Family;
}

export interface HypothesesOf extends Candidate {
  /** The first position whose logits differ. */
  readonly firstOver: number;
  readonly hints: Hints;
  /** The layer where hidden states part, where recorded ones say so. */
  readonly isSuspect?: ((key: string) => boolean) | undefined;
}

/** At positions before the first one that differs, what a fault of this reach does would show. */
const couldBe = (reach: Reach, firstOver: number): boolean => {
  if (reach === "scores") return firstOver > 0;
  return reach === "tokens" || firstOver === 0;
};

/** The likeliest first: tables of whole models, then configs, then single heads and experts. */
export function hypothesesOf({ family, source, firstOver, hints, isSuspect = () => true }: HypothesesOf): Hypothesis[] {
  const config: JsonObject = family.hfConfig();
  const ofWeights = (isAlone: boolean) =>
    UNDOINGS.filter(({ alone = false }) => alone === isAlone)
      .flatMap((undoing) => suspectsOf(undoing, { source, config }, hints))
      .filter(({ edits, reach }) => couldBe(reach, firstOver) && [...edits.keys()].some(isSuspect))
      .map(({ code, place, how, words, mend, edits, isRounded }): Hypothesis => {
        return { code, place, how, tensors: [...edits.keys()], fields: [], words, mend, edits, isRounded };
      });
  return [...ofConfig(family, firstOver), ...ofWeights(false), ...ofWeights(true)];
}

const NONE: ReadonlyMap<string, Edit> = new Map();

const OF_POSITIONS = /window|chunk|rope|theta|rotary|position|layer_types|scal/;

/** What shows late is likely one of what depends on the position. */
const ofConfig = (family: Family, firstOver: number): Hypothesis[] =>
  otherConfigs(family, firstOver)
    .toSorted((a, b) => (firstOver === 0 ? 0 : rank(a.fields) - rank(b.fields)))
    .map(({ family: other, fields, change }) => ({
      code: "CONFIG_DIFFERS",
      place: fields.join(", "),
      how: change,
      tensors: [],
      fields,
      words: "has another value than the golden was computed with",
      mend: `give this model the config that it was trained with: ${fields.join(", ")} ${change}`,
      edits: NONE,
      family: other,
    }));

const rank = (fields: readonly string[]): number => (fields.some((field) => OF_POSITIONS.test(field)) ? 0 : 1);

/** The candidate with a hypothesis taken for true. */
export function without({ family, source, edited }: Candidate, hypothesis: Hypothesis): Candidate {
  return {
    family: hypothesis.family ?? family,
    source: hypothesis.edits.size === 0 ? source : withEdits(source, hypothesis.edits),
    edited: new Set([...edited, ...hypothesis.edits.keys()]),
  };
}

/** Tensors are edited when they are first read, and the last ones are kept: a large one is read in windows. */
export function withEdits(source: TensorSource, edits: ReadonlyMap<string, Edit>): TensorSource {
  const made = new Map<string, Uint8Array>();
  let bytes = 0;
  return {
    tensors: source.tensors,
    read(key, begin, target) {
      const edit = edits.get(key);
      if (edit === undefined) return source.read(key, begin, target);
      let values = made.get(key);
      if (values === undefined) {
        values = edit(source, key);
        if (bytes + values.length > KEPT_BYTES) made.clear();
        bytes = made.size === 0 ? values.length : bytes + values.length;
        made.set(key, values);
      }
      target.set(values.subarray(begin, begin + target.length));
    },
  };
}

const KEPT_BYTES = 64 << 20;
