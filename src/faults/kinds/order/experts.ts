// Experts of a layer in another order than their router has them.
import type { Change } from "../../edit.ts";
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged, type Order, rolled, textOrder } from "../axes.ts";
import { type Kind, type Made, tensorKind, withTensors } from "../kind.ts";
import { expertCount, keysLike } from "../names.ts";
import { FEWEST_NAMES } from "./rows.ts";

const NUMBERED = /^(.+\.experts\.)(\d+)\.(.+)$/;

/** Experts that have keys of their own: prefix of each layer's. */
const numbered = (sample: Sample): string[] => [
  ...new Set(keysLike(sample, NUMBERED).map((key) => NUMBERED.exec(key)![1]!)),
];

/** Tensors that hold one matrix of all experts. */
const stacks = (sample: Sample): string[] =>
  keysLike(
    sample,
    /\.experts\.[a-z_]+(?:\.weight)?$/,
    ({ shape }) => shape.length > 2 && shape[0] === expertCount(sample),
  );

/** A place a layer of numbered experts, by its first tensor; a place a layer of stacked ones. */
const layersOf = (sample: Sample): string[] => [
  ...numbered(sample).map((prefix) => keysLike(sample, NUMBERED).find((key) => key.startsWith(`${prefix}0.`))!),
  ...stacks(sample).filter((key) => /up_proj/.test(key)),
];

/** All tensors of that layer's experts, each in another expert's place. */
function reorder(sample: Sample, place: string, order: Order): Made {
  const [, prefix] = NUMBERED.exec(place) ?? [];
  if (prefix === undefined) {
    const folder = place.slice(0, place.lastIndexOf("experts.") + "experts.".length);
    const all = [...sample.source.tensors.values()].filter(
      ({ key, shape }) => key.startsWith(folder) && shape[0] === expertCount(sample),
    );
    const changes = all.map(({ key }): [string, Change] => [
      key,
      { bytes: () => along(sample.source, key, { axis: 0 }, order) },
    ]);
    return withTensors(sample, Object.fromEntries(changes));
  }
  const own = keysLike(sample, NUMBERED).filter((key) => key.startsWith(prefix));
  const moved = own.flatMap((key): [string, Change][] => {
    const [, , number, rest] = NUMBERED.exec(key)!;
    const from = `${prefix}${order(Number(number), 0)}.${rest}`;
    return from === key ? [] : [[key, { bytes: () => bytesOf(sample.source, from) }]];
  });
  return withTensors(sample, Object.fromEntries(moved));
}

/** Numbered experts hold each other's tensors; those of a stack are rows of it. */
const CODES = { code: "TENSORS_SWAPPED", alsoCodes: ["ROWS_REORDERED"], keepsShapes: true } as const;

const routers = (sample: Sample): string[] =>
  keysLike(sample, /\.(?:gate|router)\.weight$/, ({ shape }) => shape[0] === expertCount(sample) && shape.length === 2);

export const EXPERTS: readonly Kind[] = [
  {
    name: "experts-in-text-order",
    ...CODES,
    about: "experts stacked in the order of their names as text: 0, 1, 10, 11, 2 (torchtitan#2177, verl#2319)",
    places: (sample) => (expertCount(sample) >= FEWEST_NAMES ? layersOf(sample) : []),
    make(sample, place) {
      const order = textOrder(expertCount(sample));
      return reorder(sample, place, (expert) => order[expert]!);
    },
  },
  {
    name: "experts-rolled",
    ...CODES,
    about: "each expert in the place of the next, the last in that of the first",
    places: (sample) => (expertCount(sample) > 2 ? layersOf(sample) : []),
    make: (sample, place) => reorder(sample, place, rolled(expertCount(sample))),
  },
  {
    name: "experts-two-swapped",
    ...CODES,
    alsoCodes: ["ROWS_REORDERED", "HALVES_SWAPPED"],
    about: "two experts in each other's place, all others right",
    places: (sample) => (expertCount(sample) > 1 ? layersOf(sample) : []),
    make: (sample, place) => reorder(sample, place, exchanged(1, expertCount(sample) - 1)),
  },
  tensorKind({
    name: "router-rows-rolled",
    code: "ROWS_REORDERED",
    about: "rows of a router in another order than its experts",
    places: (sample) => (expertCount(sample) > 2 ? routers(sample) : []),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, rolled(expertCount(sample))),
  }),
  tensorKind({
    name: "expert-repeated",
    code: "ROWS_REPEATED",
    about: "the first expert of a stack once more in the place of the last",
    places: (sample) => (expertCount(sample) > 1 ? stacks(sample) : []),
    bytes: (sample, key) =>
      along(sample.source, key, { axis: 0 }, (expert) => (expert === expertCount(sample) - 1 ? 0 : expert)),
  }),
];

export { layersOf, reorder, routers, stacks };
