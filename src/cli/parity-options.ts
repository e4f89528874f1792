// What commands that run models forward have in common.
import type { Options } from "yargs";
import { BACKEND_CHOICES, ROUTING_CHOICES } from "../parity/choices.ts";
import { choice, flag, text } from "./options.ts";

/** What models are run on: `input-options.ts` reads them. */
export const inputOptions = {
  ids: text("JSON array of token ids; repeatable"),
  prompt: text("Text, or @FILE; repeatable"),
  prompts: text("Many prompts: a JSON array of strings (.json), or a text of one a line"),
  "chat-template": flag("Put the prompt into the checkpoint's chat template, as a user's message"),
  image: text("PNG or JPEG file that goes with each prompt, for models that see; repeatable"),
  tokenizer: text("tokenizer.json, or a directory holding one [the checkpoint's]"),
  inputs: text(
    "safetensors with input_ids; for models that see also pixel_values, image_grid_thw, position_ids; repeatable",
  ),
  tokens: text("Number of random ids, 512 at least [512]"),
} as const satisfies Readonly<Record<string, Options>>;

/** Where it is computed, as what, and how much may differ. */
export const runOptions = {
  "save-logits": text("Write input_ids, logits_a and logits_b as safetensors"),
  backend: choice("Where it is computed; cpu in f64 [auto]", BACKEND_CHOICES),
  routing: choice("Whether the second side takes the first one's experts [free]", ROUTING_CHOICES),
  "accept-known": text(
    "Let a known difference pass: =CODE or =CODE=KL; without a code all that are small; repeatable",
    {
      requiresArg: false,
    },
  ),
  upstream: text(
    "Versions whose mathematics is run: transformers=5.24,torchtitan=main [the config's; else the newest checked]",
  ),
  "max-kl": text("Largest mean KL in nats per token [1e-8]"),
  "min-top1": text("Smallest share of positions with the same most likely token, from 0 to 1"),
  "max-ram": text("Memory that the run may take; impossible limits are refused up front"),
} as const satisfies Readonly<Record<string, Options>>;
