// Two tensors in each other's place, undone: gate and up, keys and values, norms, layers, experts.
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";
import { holding, place, tensorsWhere } from "./edits.ts";
import { type ExpertPart, expertPartOf, isVision, partOf } from "./parts.ts";
import type { Edit, Hints, Place, Undoing } from "./undoing.ts";

const isAlike = (a: TensorInfo, b: TensorInfo): boolean => a.dtype === b.dtype && `${a.shape}` === `${b.shape}`;

const exchanged = (a: string, b: string): Readonly<Record<string, Edit>> => ({ [a]: holding(b), [b]: holding(a) });

const shortName = (key: string): string => key.replace(/\.(?:weight|bias)$/, "");

function groupsOf<T>(list: readonly T[], nameOf: (item: T) => string | null): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const name = nameOf(item);
    if (name !== null) groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups.values()];
}

function* pairsIn<T>(list: readonly T[]): Generator<readonly [T, T]> {
  for (const [i, a] of list.entries()) for (const b of list.slice(i + 1)) yield [a, b];
}

/** Words of the part of the layer that a pair is in, so that such pairs of all layers are tried together. */
const roles = (a: string, b: string): string =>
  `${shortName(partOf(a).role)} and ${shortName(partOf(b).role)} exchanged`;

/** Tensors of one layer, experts aside. Matrices and their biases are exchanged together, too. */
function inLayers(sample: Sample): Place[] {
  const own = tensorsWhere(sample, ({ key }) => partOf(key).layer !== null && expertPartOf(key) === null);
  return groupsOf(own, ({ key }) => `${partOf(key).stack}.${partOf(key).layer}`).flatMap((layer) => {
    const pairs = [...pairsIn(layer)].filter(([a, b]) => isAlike(a, b));
    const single = pairs.map(([{ key: a }, { key: b }]) => place(roles(a, b), exchanged(a, b)));
    const biased = pairs.flatMap(([{ key: a }, { key: b }]) => {
      const [x, y] = [a, b].map((key) =>
        layer.find((info) => info.key === key.replace(/weight$/, "bias") && info.key !== key),
      );
      if (x === undefined || y === undefined || !isAlike(x, y)) return [];
      return [place(`${roles(a, b)} with their biases`, { ...exchanged(a, b), ...exchanged(x.key, y.key) })];
    });
    return [...single, ...biased];
  });
}

/** Gate and up, or other matrices, of single experts. */
function inExperts(sample: Sample, { chosen }: Hints): Place[] {
  const own = tensorsWhere(sample, ({ key }) => expertPartOf(key) !== null);
  return groupsOf(own, ({ key }) => {
    const { experts, expert } = expertPartOf(key)!;
    return isChosen(chosen, experts, expert) ? `${experts}.${expert}` : null;
  }).flatMap((expert) =>
    [...pairsIn(expert)]
      .filter(([a, b]) => isAlike(a, b))
      .map(([{ key: a }, { key: b }]) =>
        place(`${expertRole(a)} and ${expertRole(b)} of an expert exchanged`, exchanged(a, b)),
      ),
  );
}

/** The same of all experts, whether tokens at hand chose them or not. */
function inAllExperts(sample: Sample): Place[] {
  const own = tensorsWhere(sample, ({ key }) => expertPartOf(key) !== null);
  return groupsOf(own, ({ key }) => expertPartOf(key)!.experts).flatMap((layer) => {
    const first = layer.filter(({ key }) => expertPartOf(key)!.expert === expertPartOf(layer[0]!.key)!.expert);
    return [...pairsIn(first)]
      .filter(([a, b]) => isAlike(a, b))
      .map(([a, b]) => {
        const [x, y] = [expertRole(a.key), expertRole(b.key)];
        const edits = layer.flatMap(({ key }) => {
          if (expertRole(key) !== x) return [];
          const other = key.slice(0, -x.length) + y;
          return sample.source.tensors.has(other) ? Object.entries(exchanged(key, other)) : [];
        });
        return place(`${x} and ${y} of all experts exchanged`, Object.fromEntries(edits));
      });
  });
}

const expertRole = (key: string): string => (expertPartOf(key) as ExpertPart).role;

/** Two experts, of which tokens at hand chose one at least; whole, or one of their matrices. */
function betweenExperts(sample: Sample, { chosen }: Hints): Place[] {
  const own = tensorsWhere(sample, ({ key }) => expertPartOf(key) !== null);
  return groupsOf(own, ({ key }) => expertPartOf(key)!.experts).flatMap((layer) => {
    const { experts } = expertPartOf(layer[0]!.key)!;
    const numbers = [...new Set(layer.map(({ key }) => expertPartOf(key)!.expert))];
    const rolesOf = [...new Set(layer.map(({ key }) => expertRole(key)))];
    return [...pairsIn(numbers)]
      .filter(([e, f]) => isChosen(chosen, experts, e) || isChosen(chosen, experts, f))
      .flatMap(([e, f]) => {
        const swap = (role: string) => exchanged(`${experts}.${e}.${role}`, `${experts}.${f}.${role}`);
        const whole = Object.assign({}, ...rolesOf.map(swap));
        return [
          place(`experts ${e} and ${f} exchanged`, whole),
          ...rolesOf.map((role) => place(`${role} of experts ${e} and ${f} exchanged`, swap(role))),
        ];
      });
  });
}

export function isChosen(chosen: Hints["chosen"], experts: string, expert: number): boolean {
  if (chosen === null) return true;
  const { layer } = partOf(`${experts}.x`);
  const of = chosen.get(`layers.${layer}`);
  return of === undefined || of.has(expert);
}

/** Tensors of one kind in neighbouring layers; whole layers; all layers one too far. */
function betweenLayers(sample: Sample): Place[] {
  const own = tensorsWhere(sample, ({ key }) => partOf(key).layer !== null);
  const byRole = groupsOf(own, ({ key }) => `${partOf(key).stack} ${partOf(key).role}`).filter(
    (kind) => kind.length > 1,
  );
  const keyOf = (key: string, layer: number) => `${partOf(key).stack}.${layer}.${partOf(key).role}`;
  const swaps = byRole.flatMap((kind) =>
    [...pairsIn(kind)]
      .filter(([a, b]) => isAlike(a, b) && expertPartOf(a.key) === null)
      .map(([{ key: a }, { key: b }]) =>
        place(`layers ${partOf(a).layer} and ${partOf(b).layer} exchanged`, exchanged(a, b)),
      ),
  );
  const shifts = [1, -1].flatMap((by) =>
    byRole.flatMap((kind) => {
      const numbers = kind.map(({ key }) => partOf(key).layer!).toSorted((a, b) => a - b);
      if (numbers.length < 3 || !kind.every((info) => isAlike(info, kind[0]!))) return [];
      const from = (layer: number) => numbers[(numbers.indexOf(layer) + by + numbers.length) % numbers.length]!;
      const edits = kind.map(({ key }) => [key, holding(keyOf(key, from(partOf(key).layer!)))] as const);
      return [place(by > 0 ? "layers moved on by one" : "layers moved back by one", Object.fromEntries(edits))];
    }),
  );
  return [...swaps, ...shifts];
}

/** Tensors of no layer among each other, and with the norms of layers. */
function outside(sample: Sample): Place[] {
  const apart = tensorsWhere(sample, ({ key }) => partOf(key).layer === null);
  const norms = tensorsWhere(
    sample,
    ({ key, shape }) => partOf(key).layer !== null && shape.length === 1 && !isVision(key),
  );
  const alike = (a: TensorInfo, b: TensorInfo) =>
    isAlike(a, b) && /(?:weight|bias)$/.exec(a.key)?.[0] === /(?:weight|bias)$/.exec(b.key)?.[0];
  const pairs = [...pairsIn(apart), ...apart.flatMap((a) => norms.map((b) => [a, b] as const))];
  return pairs.filter(([a, b]) => alike(a, b)).map(([{ key: a }, { key: b }]) => place("exchanged", exchanged(a, b)));
}

/** Lists of modules that are no layers: mergers, projections. */
function inLists(sample: Sample): Place[] {
  const apart = tensorsWhere(sample, ({ key }) => partOf(key).layer === null && /\.\d+\./.test(key));
  return groupsOf(apart, ({ key }) => key.replace(/\.\d+\..*$/, "")).flatMap((list) => {
    const numbers = [...new Set(list.map(({ key }) => /\.(\d+)\./.exec(key)![1]!))];
    return [...pairsIn(numbers)].flatMap(([i, j]) => {
      const edits = list.flatMap(({ key }) => {
        const other = key.replace(`.${i}.`, `.${j}.`);
        const info = sample.source.tensors.get(other);
        if (other === key || info === undefined || !isAlike(sample.source.tensors.get(key)!, info)) return [];
        return Object.entries(exchanged(key, other));
      });
      return edits.length === 0 ? [] : [place(`${i} and ${j} exchanged`, Object.fromEntries(edits))];
    });
  });
}

const SWAPPED = {
  code: "TENSORS_SWAPPED",
  words: "hold each other's values",
  mend: "exchange the tensors: gate and up, keys and values, norms, layers or experts fit each other's places",
} as const;

export const swaps: readonly Undoing[] = [
  { ...SWAPPED, places: inLayers },
  { ...SWAPPED, places: inAllExperts },
  { ...SWAPPED, places: inExperts },
  { ...SWAPPED, places: betweenLayers },
  { ...SWAPPED, places: outside, alone: true },
  { ...SWAPPED, places: inLists, alone: true },
  { ...SWAPPED, places: betweenExperts, alone: true },
];
