// Experts in another order, as of names that were sorted as text: 0, 1, 10, 11, 2 (torchtitan#2177); and one expert of a stacked
// tensor with something done to it.
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";
import { textOrder } from "../kinds/axes.ts";
import {
  distinct,
  exchanged,
  holding,
  inverse,
  listed,
  type Order,
  ordered,
  permuted,
  place,
  tensorsWhere,
} from "./edits.ts";
import { configFor, expertPartOf, numberAmong, partOf } from "./parts.ts";
import { isChosen } from "./swaps.ts";
import type { Edit, Hints, Place, Undoing } from "./undoing.ts";

const STACKED = /\bexperts\.[^.]+$/;
const ROUTER = /\.(?:mlp|feed_forward)\.(?:gate|router)\.[^.]+$/;

interface Mixture {
  readonly count: number;
  readonly stacked: readonly TensorInfo[];
  readonly single: readonly TensorInfo[];
  readonly router: readonly TensorInfo[];
}

function mixturesOf(sample: Sample): Mixture[] {
  const layers = new Map<string, TensorInfo[]>();
  for (const info of tensorsWhere(
    sample,
    ({ key }) => STACKED.test(key) || ROUTER.test(key) || expertPartOf(key) !== null,
  )) {
    const { stack, layer } = partOf(info.key);
    const name = `${stack}.${layer}`;
    layers.set(name, [...(layers.get(name) ?? []), info]);
  }
  return [...layers.values()].flatMap((infos) => {
    const router = infos.filter(({ key }) => ROUTER.test(key));
    const single = infos.filter(({ key }) => expertPartOf(key) !== null);
    const stacked = infos.filter(({ key }) => STACKED.test(key) && expertPartOf(key) === null);
    const count = router[0]?.shape[0] ?? 0;
    return count > 1 ? [{ count, stacked, single, router: router.filter(({ shape }) => shape[0] === count) }] : [];
  });
}

/** Orders that experts were seen in, as where each of the right order is found. */
function ordersOf(count: number): Readonly<Record<string, readonly number[]>> {
  const numbers = Array.from({ length: count }, (_, e) => e);
  const text = textOrder(count);
  const halves = count % 2 === 0 ? numbers.map((e) => Math.floor(e / 2) + (e % 2) * (count / 2)) : numbers;
  return distinct(
    Object.entries({
      "sorted as text": inverse(text),
      "sorted as numbers where they should be as text": text,
      "one too far": numbers.map((e) => (e + 1) % count),
      "one too early": numbers.map((e) => (e + count - 1) % count),
      reversed: numbers.toReversed(),
      "halves exchanged": count % 2 === 0 ? numbers.map((e) => (e + count / 2) % count) : numbers,
      "ranks interleaved": halves,
      "ranks not interleaved": inverse(halves),
    }),
  );
}

function editsOf(
  { stacked, single }: Mixture,
  list: readonly number[],
  isMeant: (role: string) => boolean,
): Record<string, Edit> {
  const own = stacked
    .filter(({ key }) => isMeant(partOf(key).role))
    .map(({ key }) => [key, ordered(0, listed(list))] as const);
  const each = single.flatMap(({ key }) => {
    const { experts, expert, role } = expertPartOf(key)!;
    return isMeant(role) && list[expert] !== expert
      ? [[key, holding(`${experts}.${list[expert]}.${role}`)] as const]
      : [];
  });
  return Object.fromEntries([...own, ...each]);
}

function reordered(sample: Sample): Place[] {
  return mixturesOf(sample).flatMap((mixture) => {
    const { stacked, single, router, count } = mixture;
    const roles = [
      ...new Set([...stacked.map(({ key }) => partOf(key).role), ...single.map(({ key }) => expertPartOf(key)!.role)]),
    ];
    const groups = [...roles.filter((role) => /gate/.test(role)), ...roles.filter((role) => /down/.test(role))];
    return Object.entries(ordersOf(count)).flatMap(([name, list]) => [
      place(
        `experts ${name}`,
        editsOf(mixture, list, () => true),
      ),
      place(`router rows ${name}`, Object.fromEntries(router.map(({ key }) => [key, ordered(0, listed(list))]))),
      ...groups.map((group) =>
        place(
          `${group} of the experts ${name}`,
          editsOf(mixture, list, (role) => role === group),
        ),
      ),
      ...router.map(({ key }) => place(`${partOf(key).role} ${name}`, { [key]: ordered(0, listed(list)) })),
    ]);
  });
}

/** Two rows of the router, or of its bias, and two experts of a stacked tensor. */
function exchangedPairs(sample: Sample, { chosen }: Hints): Place[] {
  return mixturesOf(sample).flatMap(({ count, stacked, router }) => {
    const { stack, layer } = partOf(router[0]!.key);
    const experts = `${stack}.${layer}.experts`;
    const swap =
      (e: number, f: number): Order =>
      (i) =>
        i === e ? f : i === f ? e : i;
    const pairs = Array.from({ length: count }, (_, e) => e).flatMap((e) =>
      Array.from({ length: count - e - 1 }, (_, i) => [e, e + 1 + i] as const).filter(
        ([a, b]) => isChosen(chosen, experts, a) || isChosen(chosen, experts, b),
      ),
    );
    return pairs.flatMap(([e, f]) => {
      const edit = ordered(0, swap(e, f));
      const whole =
        stacked.length === 0
          ? []
          : [place(`experts ${e} and ${f} exchanged`, Object.fromEntries(stacked.map(({ key }) => [key, edit])))];
      const own =
        stacked.length > 1 ? stacked.map(({ key }) => place(`experts ${e} and ${f} exchanged`, { [key]: edit })) : [];
      const rows = place(
        `router rows ${e} and ${f} exchanged`,
        Object.fromEntries(router.map(({ key }) => [key, edit])),
      );
      return [...whole, ...own, rows];
    });
  });
}

/** What can be done to gate and up of a stacked tensor, over the axis that has both. */
function gateUpOrders(width: number): Readonly<Record<string, Order>> {
  const half = width / 2;
  return {
    "halves exchanged": (i) => (i + half) % width,
    "neighbours exchanged": (i) => i ^ 1,
    "halves from interleaved": exchanged(2, half),
    "interleaved from halves": exchanged(half, 2),
  };
}

const CODES: Readonly<Record<string, string>> = {
  "halves exchanged": "HALVES_SWAPPED",
  "neighbours exchanged": "PAIRS_SWAPPED",
  "halves from interleaved": "HALVES_INTERLEAVED",
  "interleaved from halves": "HALVES_INTERLEAVED",
};

/** Axes of a fused gate and up that can hold both, by the widths of experts. */
function gateUpAxes(sample: Sample, { key, shape }: TensorInfo): number[] {
  const config = configFor(sample, key);
  const widths = ["moe_intermediate_size", "intermediate_size", "intermediate_size_mlp"].flatMap(
    (field) => numberAmong(config, field) ?? [],
  );
  const first = STACKED.test(key) ? 1 : 0;
  const fits = shape.flatMap((size, axis) =>
    axis >= first && widths.some((width) => size === 2 * width) ? [axis] : [],
  );
  return fits.length > 0 ? fits : shape.flatMap((size, axis) => (axis >= first && size % 2 === 0 ? [axis] : []));
}

const fusedGates = (sample: Sample) =>
  tensorsWhere(sample, ({ key }) => /gate_up_proj(?:_bias|\.weight|\.bias)?$/.test(key));

function gateUp(kind: string): Undoing["places"] {
  return (sample) => {
    const gates = fusedGates(sample);
    const alone = gates.flatMap((info) =>
      gateUpAxes(sample, info).map((axis) =>
        place(`gate and up: ${kind}`, { [info.key]: ordered(axis, gateUpOrders(info.shape[axis]!)[kind]!) }),
      ),
    );
    // A bias goes with its weight.
    const both = gates.flatMap((info) => {
      const bias = gates.find(
        ({ key }) => key === `${info.key}_bias` || (key !== info.key && key === info.key.replace(/weight$/, "bias")),
      );
      if (bias === undefined) return [];
      return gateUpAxes(sample, info).map((axis) =>
        place(`gate and up, with biases: ${kind}`, {
          [info.key]: ordered(axis, gateUpOrders(info.shape[axis]!)[kind]!),
          [bias.key]: ordered(bias.shape.length - 1, gateUpOrders(bias.shape.at(-1)!)[kind]!),
        }),
      );
    });
    return [...alone, ...both];
  };
}

function gateUpOfOne(kind: string): Undoing["places"] {
  return (sample, { chosen }) =>
    fusedGates(sample)
      .filter(({ key, shape }) => STACKED.test(key) && shape.length === 3)
      .flatMap((info) => {
        const { stack, layer } = partOf(info.key);
        return Array.from({ length: info.shape[0]! }, (_, e) => e)
          .filter((e) => isChosen(chosen, `${stack}.${layer}.experts`, e))
          .flatMap((e) =>
            gateUpAxes(sample, info).map((axis) => {
              const order = gateUpOrders(info.shape[axis]!)[kind]!;
              const per = axis === 1 ? 1 : info.shape[1]!;
              return place(`gate and up of expert ${e}: ${kind}`, {
                [info.key]: ordered(axis, (i, outer) => (Math.floor(outer / per) === e ? order(i, outer) : i)),
              });
            }),
          );
      });
}

/** Every expert's matrix transposed, where it is square, or reshaped where it should have been transposed. */
function turned(sample: Sample): Place[] {
  return tensorsWhere(sample, ({ key, shape }) => STACKED.test(key) && shape.length === 3).flatMap(({ key, shape }) => {
    const [e, m, n] = [shape[0]!, shape[1]!, shape[2]!];
    const edit = (rows: number, columns: number) => permuted([e, rows, columns], [0, 2, 1]);
    return [
      place("each expert transposed", { [key]: edit(n, m) }),
      ...(m === n ? [] : [place("each expert transposed in its own shape", { [key]: edit(m, n) })]),
    ];
  });
}

export const experts: readonly Undoing[] = [
  {
    code: "ROWS_REORDERED",
    words: "has its experts in another order",
    mend: "write experts in numerical order, and the rows of the router in the same",
    places: reordered,
  },
  ...Object.entries(CODES).flatMap(([kind, code]) => {
    const common = {
      code,
      words: `has gate and up in another order (${kind})`,
      mend: "write gate and up in the order that this family's files have: halves, or one row of each in turn",
    } as const;
    return [
      { ...common, places: gateUp(kind) },
      { ...common, places: gateUpOfOne(kind), alone: true },
    ];
  }),
  {
    code: "TRANSPOSED",
    words: "has the matrix of each expert transposed",
    mend: "transpose each expert's matrix, and never reshape it instead",
    places: turned,
  },
  {
    code: "ROWS_REORDERED",
    words: "has two experts, or two rows of the router, in each other's place",
    mend: "write experts in numerical order, and the rows of the router in the same",
    places: exchangedPairs,
    alone: true,
  },
];
