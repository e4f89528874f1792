// Tensors of another layer, or of another norm of the same: what an index that is off by one, or a name, gives.
import type { Change } from "../../edit.ts";
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, type Made, withTensors } from "../kind.ts";
import { isVision, keysLike, layerOf } from "../names.ts";
import { exchangedTensors, fits } from "./swapped.ts";

/** The same tensor of the next layer that has one of its shape; undefined where there is none. */
function nextOf(sample: Sample, key: string): string | undefined {
  const place = layerOf(key);
  if (place === null) return undefined;
  return [...sample.source.tensors.keys()].find((other) => {
    const at = layerOf(other);
    return (
      at !== null &&
      at.stack === place.stack &&
      at.rest === place.rest &&
      at.layer > place.layer &&
      fits(sample, key, other)
    );
  });
}

const withNext = (sample: Sample, pattern: RegExp): string[] =>
  keysLike(sample, pattern).filter((key) => nextOf(sample, key) !== undefined);

const copied = (sample: Sample, from: (key: string) => string | undefined, keys: readonly string[]): Made =>
  withTensors(
    sample,
    Object.fromEntries(
      keys.flatMap((key): [string, Change][] => {
        const owner = from(key);
        return owner === undefined ? [] : [[key, { bytes: () => bytesOf(sample.source, owner) }]];
      }),
    ),
  );

const BLOCK_NORMS =
  /layers\.\d+\.(?:input|post_attention|pre_feedforward|post_feedforward|post_mlp|attention|feedforward)_layernorm\.weight$/;

/** Another norm of the same layer. */
function otherNorm(sample: Sample, key: string): string | undefined {
  const place = layerOf(key);
  return keysLike(sample, BLOCK_NORMS).find((other) => {
    const at = layerOf(other);
    return other > key && at?.stack === place?.stack && at?.layer === place?.layer && fits(sample, key, other);
  });
}

/** The first tensors of layers, one a layer, whose next layer has all the same keys and shapes. */
function layersWithTwin(sample: Sample): string[] {
  const first = new Map<string, string[]>();
  for (const key of sample.source.tensors.keys()) {
    const place = layerOf(key);
    if (place === null || isVision(key)) continue;
    const name = `${place.stack}${place.layer}`;
    first.set(name, [...(first.get(name) ?? []), key]);
  }
  return [...first.values()]
    .filter((keys) => {
      const places = keys.map((key) => nextOf(sample, key));
      const layers = new Set(places.map((key) => (key === undefined ? -1 : layerOf(key)!.layer)));
      const [next] = layers;
      return layers.size === 1 && next !== -1 && next === layerOf(keys[0]!)!.layer + 1;
    })
    .map((keys) => keys[0]!);
}

const ofLayer = (sample: Sample, place: string): string[] => {
  const { stack, layer } = layerOf(place)!;
  return [...sample.source.tensors.keys()].filter((key) => key.startsWith(`${stack}${layer}.`));
};

const hasNorms = /norm\w*\.weight$/;

export const LAYERS: readonly Kind[] = [
  {
    name: "norms-exchanged",
    code: "TENSORS_SWAPPED",
    about: "two norms of a layer in each other's place, as before and after attention",
    keepsShapes: true,
    places: (sample) =>
      keysLike(sample, BLOCK_NORMS).filter((key) => !isVision(key) && otherNorm(sample, key) !== undefined),
    make: (sample, key) => exchangedTensors(sample, key, otherNorm(sample, key)!),
  },
  {
    name: "norm-of-the-neighbour",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "a norm holds that of the next layer",
    keepsShapes: true,
    places: (sample) => withNext(sample, hasNorms),
    make: (sample, key) => copied(sample, (each) => nextOf(sample, each), [key]),
  },
  {
    name: "tensor-of-the-neighbour",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "a matrix holds that of the next layer",
    keepsShapes: true,
    places: (sample) =>
      withNext(sample, /\.(?:down_proj|o_proj|fc2|dense)\.weight$/).filter((key) => !/experts/.test(key)),
    make: (sample, key) => copied(sample, (each) => nextOf(sample, each), [key]),
  },
  {
    name: "layer-duplicated",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "a layer holds the tensors of the next one, which stand there, too",
    keepsShapes: true,
    places: layersWithTwin,
    make: (sample, place) => copied(sample, (key) => nextOf(sample, key), ofLayer(sample, place)),
  },
  {
    name: "layers-exchanged",
    code: "TENSORS_SWAPPED",
    about: "two neighbouring layers in each other's place",
    keepsShapes: true,
    places: layersWithTwin,
    make(sample, place) {
      const keys = ofLayer(sample, place);
      const back = new Map(keys.map((key) => [nextOf(sample, key)!, key]));
      return copied(sample, (key) => back.get(key) ?? nextOf(sample, key), [...keys, ...back.keys()]);
    },
  },
];
