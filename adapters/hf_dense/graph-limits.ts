// Which decoders and inputs the graphs refuse, by name.
import type { Forward } from "../../numerics/graph.ts";
import { InputError } from "../../src/base/errors.ts";
import type { Decoder } from "./decoder.ts";

/**
 * The decoder, unless torchtitan's backend computes something that no graph can reproduce.
 * @throws InputError NO_GRAPH
 */
export function nativeDecoder(decoder: Decoder, where: string): Decoder {
  const refuse = (why: string, expected: string): never => {
    throw new InputError("NO_GRAPH", `${where}: there is no forward graph of this model's native side: ${why}`, {
      file: where,
      expected,
      help: "compare the Hugging Face side with --golden",
    });
  };
  if (decoder.scalesByContext) {
    refuse(
      "its RoPE is scaled by max_position_embeddings, which torchtitan's transformers backend sets to the length that it trains",
      '"factor" or "attention_factor" in rope_parameters',
    );
  }
  if (decoder.attention.dynamicMask !== null) {
    refuse(
      "Doge's dynamic mask takes the place of the causal one in torchtitan's transformers backend, so that tokens see those after them",
      "an architecture whose attention is causal there",
    );
  }
  return decoder;
}

/** Doge drops keys where there are more than its window keeps. No op can say which ones. */
export function withinKeepWindow(forward: Forward, { attention: { dynamicMask } }: Decoder): Forward {
  if (dynamicMask === null) return forward;
  return function* (op, weight, input) {
    const tokens = input.ids_T.length;
    if (tokens > dynamicMask.keepWindow) {
      throw new InputError("NO_GRAPH", `there is no forward graph of a dynamic mask over ${tokens} tokens`, {
        expected: `at most keep_window_size = ${dynamicMask.keepWindow} tokens`,
        found: `${tokens} tokens`,
        help: "give fewer with --ids or --tokens",
      });
    }
    return yield* forward(op, weight, input);
  };
}
