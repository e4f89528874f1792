// Layers that predict further tokens: dropped, at another index, made of other tensors. No logit of the model shows it.
import type { Change } from "../../edit.ts";
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged } from "../axes.ts";
import { type Kind, tensorKind, withTensors } from "../kind.ts";
import { inLayer, keysLike, layerOf, numberOf, textConfig } from "../names.ts";
import { fits } from "./swapped.ts";

const firstOf = ({ config }: Sample): number => numberOf(textConfig(config), ["num_hidden_layers"]);

/** Keys of the layers behind the model's own. */
function behind(sample: Sample): string[] {
  const first = firstOf(sample);
  const hasThem = numberOf(textConfig(sample.config), ["num_nextn_predict_layers"]) > 0;
  return hasThem ? keysLike(sample, /./).filter((key) => (layerOf(key)?.layer ?? -1) >= first) : [];
}

/** The same tensor of the model's last layer. */
function ofLastLayer(sample: Sample, key: string): string | undefined {
  const place = layerOf(key)!;
  const last = inLayer(place, firstOf(sample) - 1, place.rest);
  return fits(sample, key, last) ? last : undefined;
}

export const MTP: readonly Kind[] = [
  {
    name: "mtp-layer-dropped",
    code: "MISSING_TENSOR",
    about: "the layer that predicts further tokens left out, though the config has it (DeepSeek ports)",
    keepsShapes: false,
    places: (sample) => behind(sample).slice(0, 1),
    make: (sample) => withTensors(sample, Object.fromEntries(behind(sample).map((key) => [key, null]))),
  },
  {
    name: "mtp-layer-at-wrong-index",
    code: "MISSING_TENSOR",
    alsoCodes: ["UNKNOWN_TENSOR"],
    about: "the layer that predicts further tokens one index further than it should be (DeepSeek ports)",
    keepsShapes: false,
    places: (sample) => behind(sample).slice(0, 1),
    make(sample) {
      const moved = behind(sample).flatMap((key): [string, Change | null][] => {
        const place = layerOf(key)!;
        const info = sample.source.tensors.get(key)!;
        return [
          [key, null],
          [inLayer(place, place.layer + 1, place.rest), { bytes: () => bytesOf(sample.source, key), info }],
        ];
      });
      return withTensors(sample, Object.fromEntries(moved));
    },
  },
  {
    name: "mtp-layer-copied",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "the layer that predicts further tokens holds the model's last layer",
    keepsShapes: true,
    places: (sample) =>
      behind(sample)
        .filter((key) => ofLastLayer(sample, key) !== undefined)
        .slice(0, 1),
    make(sample) {
      const copied = behind(sample).flatMap((key): [string, Change][] => {
        const from = ofLastLayer(sample, key);
        return from === undefined ? [] : [[key, { bytes: () => bytesOf(sample.source, from) }]];
      });
      return withTensors(sample, Object.fromEntries(copied));
    },
  },
  tensorKind({
    name: "mtp-projection-halves",
    code: "HALVES_SWAPPED",
    alsoCodes: ["COLUMNS_REORDERED"],
    about: "embedding and hidden state in each other's place before the projection",
    places: (sample) => keysLike(sample, /\.eh_proj\.weight$/),
    bytes({ source }, key) {
      const [m, n] = source.tensors.get(key)!.shape;
      return along(source, key, { shape: [m!, 2, n! / 2], axis: 1 }, exchanged(0, 1));
    },
  }),
  {
    name: "mtp-head-norm-shared",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "the norm before the head of further tokens holds the model's own last norm",
    keepsShapes: true,
    places: (sample) =>
      keysLike(sample, /\.shared_head\.norm\.weight$/).filter((key) => fits(sample, key, finalNorm(sample))),
    make: (sample, key) => withTensors(sample, { [key]: { bytes: () => bytesOf(sample.source, finalNorm(sample)) } }),
  },
];

const finalNorm = (sample: Sample): string => keysLike(sample, /(?:^|\.)model\.norm\.weight$/)[0] ?? "";
