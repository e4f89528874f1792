// Gate and up of a feed-forward layer: in each other's place, or in one tensor as halves, interleaved, exchanged.
import type { Sample } from "../../fault.ts";
import { along, exchanged, type Order, only, regrouped } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { expertCount, isVision, keysLike, numberOf, textConfig } from "../names.ts";
import { exchangedTensors, fits } from "./swapped.ts";

const GATE = /\.gate_proj\.weight$/;
const upOf = (gate: string): string => gate.replace(/gate_proj\.weight$/, "up_proj.weight");

const gates = (sample: Sample, isMeant: (key: string) => boolean): string[] =>
  keysLike(sample, GATE).filter((key) => isMeant(key) && fits(sample, key, upOf(key)));

const isExpert = (key: string): boolean => /\.experts\.\d+\./.test(key);
const isShared = (key: string): boolean => /\.shared_experts?\./.test(key);

const swapped = (name: string, about: string, isMeant: (key: string) => boolean): Kind => ({
  name,
  code: "TENSORS_SWAPPED",
  about,
  keepsShapes: true,
  places: (sample) => gates(sample, isMeant),
  make: (sample, key) => exchangedTensors(sample, key, upOf(key)),
});

/** Tensors that hold gate and up of one layer, or of all its experts. */
const joint = (sample: Sample): string[] =>
  keysLike(sample, /\.(?:gate_up_proj|gate_up_proj\.weight|gate_up_proj_bias)$/, ({ key }) => !isVision(key));

const stacked = (sample: Sample): string[] =>
  joint(sample).filter((key) => sample.source.tensors.get(key)!.shape[0] === expertCount(sample));

/** The axis that holds both: twice the channels of an expert, or of the layer. */
function jointAxis(sample: Sample, key: string): number {
  const { shape } = sample.source.tensors.get(key)!;
  const text = textConfig(sample.config);
  const isStack = stacked(sample).includes(key);
  const channels = numberOf(text, isStack ? ["moe_intermediate_size", "intermediate_size"] : ["intermediate_size"]);
  return shape.lastIndexOf(2 * channels);
}

/** Whether gate and up are neighbours, not halves: what a clamped SwiGLU reads. */
const isInterleaved = ({ config }: Sample): boolean => textConfig(config).swiglu_limit !== undefined;

function halves(sample: Sample, key: string) {
  const { shape } = sample.source.tensors.get(key)!;
  const axis = jointAxis(sample, key);
  const half = shape[axis]! / 2;
  return isInterleaved(sample)
    ? {
        shape: [...shape.slice(0, axis), half, 2, ...shape.slice(axis + 1)],
        axis: axis + 1,
        half,
        between: shape.slice(1, axis),
        after: half,
      }
    : {
        shape: [...shape.slice(0, axis), 2, half, ...shape.slice(axis + 1)],
        axis,
        half,
        between: shape.slice(1, axis),
        after: 1,
      };
}

/** The order in one expert alone, of a stack whose axes between expert and this one count, too. */
function ofOneExpert(sample: Sample, key: string, expert: number, order: Order): Order {
  const { between, after } = halves(sample, key);
  const each = between.reduce((product, size) => product * size, after);
  return (index, outer) => (Math.floor(outer / each) === expert ? order(index, outer) : index);
}

export const GATED: readonly Kind[] = [
  swapped(
    "gate-up-swapped",
    "gate and up (w1, w3) of one layer in each other's place",
    (key) => !isExpert(key) && !isShared(key),
  ),
  swapped("gate-up-swapped-one-expert", "gate and up of one expert in each other's place", isExpert),
  swapped("gate-up-swapped-shared-expert", "gate and up of the shared expert in each other's place", isShared),
  tensorKind({
    name: "gate-up-halves-exchanged",
    code: "HALVES_SWAPPED",
    alsoCodes: ["PAIRS_SWAPPED"],
    about: "up before gate in a tensor that holds both",
    places: (sample) => joint(sample).filter((key) => jointAxis(sample, key) >= 0),
    bytes: (sample, key) => along(sample.source, key, halves(sample, key), exchanged(0, 1)),
  }),
  tensorKind({
    name: "gate-up-halves-exchanged-one-expert",
    code: "HALVES_SWAPPED",
    alsoCodes: ["PAIRS_SWAPPED"],
    about: "up before gate in the last expert of a stack, all others right",
    places: (sample) => stacked(sample).filter((key) => jointAxis(sample, key) >= 0),
    bytes: (sample, key) =>
      along(
        sample.source,
        key,
        halves(sample, key),
        ofOneExpert(sample, key, expertCount(sample) - 1, exchanged(0, 1)),
      ),
  }),
  tensorKind({
    name: "gate-up-interleaved",
    code: "HALVES_INTERLEAVED",
    about: "gate and up row by row where the model has halves (gpt-oss ports)",
    places: (sample) => (isInterleaved(sample) ? [] : joint(sample).filter((key) => jointAxis(sample, key) >= 0)),
    bytes(sample, key) {
      const { half, axis } = halves(sample, key);
      return along(sample.source, key, { axis }, regrouped(2, half));
    },
  }),
  tensorKind({
    name: "gate-up-as-halves",
    code: "HALVES_INTERLEAVED",
    about: "gate and up as halves where the model has them row by row (gpt-oss ports)",
    places: (sample) => (isInterleaved(sample) ? joint(sample).filter((key) => jointAxis(sample, key) >= 0) : []),
    bytes(sample, key) {
      const { half, axis } = halves(sample, key);
      return along(sample.source, key, { axis: axis - 1 }, regrouped(half, 2));
    },
  }),
];
void only;
