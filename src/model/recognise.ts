// Which of a checkpoint's tensors are a model's, and of which family and layout it is.
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Adapter } from "../family/adapter.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { type Detected, detect } from "./detect.ts";
import { type ModelKeys, modelKeyReadings } from "./keys.ts";
import { recordIn } from "./record.ts";

/** What the user says of a checkpoint's family and layout. */
export interface RecogniseOptions {
  readonly adapters: readonly Adapter[];
  readonly family?: string | undefined;
  readonly layout?: string | undefined;
}

export interface Recognised extends Detected {
  readonly keys: ModelKeys;
}

/** Family and layout of the model's tensors, wherever they stand. Throws InputError NO_MODEL and what `detect` throws. */
export function recognise(checkpoint: Checkpoint, config: JsonObject | null, options: RecogniseOptions): Recognised {
  const { adapters, family, layout } = options;
  const settled = { ...(family === undefined ? {} : { family }), ...(layout === undefined ? {} : { layout }) };
  const readings = modelKeyReadings(checkpoint);
  const evidence = {
    ranks: checkpoint.ranks !== undefined,
    recorded: () => recordIn(checkpoint.folder)?.to.layout,
  };
  let failure: unknown;
  for (const keys of readings) {
    try {
      // A family and layout that the user names are not checked against the keys, so the prefix of the keys is found
      // without them.
      const bySight = detect(adapters, keys.model, config, family === undefined ? {} : { family }, evidence);
      if (layout === undefined || bySight.layout.name === layout) return { ...bySight, keys };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      failure ??= error;
    }
  }
  const [flat] = readings;
  if (flat === undefined) throw noModel(checkpoint);
  if (layout === undefined) throw failure;
  return { ...detect(adapters, flat.model, config, settled, evidence), keys: flat };
}

function noModel(checkpoint: Checkpoint): InputError {
  const found = checkpoint.tensors.size === 0 ? "no tensors at all" : "tensors of optimizer and trainer only";
  return new InputError("NO_MODEL", `${checkpoint.path}: holds no tensors of a model`, {
    file: checkpoint.path,
    expected: "model weights",
    found,
    help: "give the checkpoint of a model; --to raw converts any other",
  });
}
