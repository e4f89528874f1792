// Whether the weights are stored as their config says: `quantization_config` against the tensors, both ways.
import { InputError } from "../../base/errors.ts";
import { encodingNamed, methodOf, quantisationOf } from "../../encodings/quantisation.ts";
import type { Model } from "../model.ts";

/**
 * Null where both agree. Native weights are plain whatever their config says: it is that of the way back.
 * A conversion can do without the config's word where the tensors speak for themselves (ENCODING_UNDECLARED).
 */
export function encodingFault({ checkpoint, layout, encoded, stored: { config } }: Model): InputError | null {
  if (layout.side !== "hf") return null;
  const declared = quantisationOf(config.json);
  const [found] = new Set([...encoded.values()].map(({ encoding }) => encoding.name));
  if (declared === null) return found === undefined ? null : undeclared(checkpoint.path, config.path, found);
  return found !== undefined && found === encodingNamed(declared)
    ? null
    : absent(checkpoint.path, config.path, methodOf(declared), found);
}

const STORED: Readonly<Record<string, string>> = {
  fp8: "weights in F8_E4M3 with weight_scale_inv",
  mxfp4: "experts as _blocks and _scales",
};

function absent(path: string, file: string, method: string, found: string | undefined): InputError {
  const message = `${path}: its config says ${method} (quantization_config), and no tensor is stored so`;
  const plain = found === undefined;
  return new InputError("ENCODING_ABSENT", message, {
    file,
    expected: STORED[method] ?? `weights in the codes of ${method}`,
    found: plain ? "plain tensors" : `weights in ${found}`,
    help: plain
      ? "if the weights are meant to be plain, convert them with --encoding none, which leaves quantization_config out of the target's config; else take the files that the config belongs to"
      : "take the files that the config belongs to, or the config that belongs to these",
  });
}

function undeclared(path: string, file: string, found: string): InputError {
  const message = `${path}: its weights are stored as ${found}, and its config has no quantization_config: transformers takes their codes for weights`;
  return new InputError("ENCODING_UNDECLARED", message, {
    file,
    expected: `quantization_config with quant_method ${found}`,
    found: "no quantization_config",
    help: "take the config that belongs to the files; converting decodes the weights by their scales, and writes them plain",
  });
}
