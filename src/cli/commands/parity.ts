import { parseUpstream } from "../../family/upstream.ts";
import { BACKEND_CHOICES, ROUTING_CHOICES } from "../../parity/choices.ts";
import { backendNotes, parityDocument } from "../../report/views/parity.ts";
import { acceptancesIn } from "../accept-known.ts";
import type { Command } from "../command.ts";
import { inputsOf, tokenizerBeside } from "../input-options.ts";
import { loadAdapters, withCheckpoints } from "../load.ts";
import { choice, flag, pairOptions, sideOptionsOf, text } from "../options.ts";
import { untilAborted } from "../signals.ts";

/** Runs one or two checkpoints forward and compares the logits: the proof that a conversion is right. */
export const parity: Command = {
  usage: "parity <a> [b]",
  describe: "Run forward and compare logits: a against b, or against --golden",
  positionals: { a: "a checkpoint's directory or file", b: "another one of the same model" },
  options: {
    ids: text("JSON array of token ids; repeatable"),
    prompt: text("Text, or @FILE; repeatable"),
    prompts: text("Many prompts: a JSON array of strings (.json), or a text of one a line"),
    "chat-template": flag("Put the prompt into the checkpoint's chat template, as a user's message"),
    image: text("PNG or JPEG file that goes with each prompt, for models that see; repeatable"),
    tokenizer: text("tokenizer.json, or a directory holding one [the checkpoint's]"),
    inputs: text(
      "safetensors with input_ids; for models that see also pixel_values, image_grid_thw, position_ids; repeatable",
    ),
    golden: text("safetensors with input_ids and logits to compare with"),
    "save-logits": text("Write input_ids, logits_a and logits_b as safetensors"),
    backend: choice("Where it is computed; cpu in f64 [auto]", BACKEND_CHOICES),
    tokens: text("Number of random ids [512]"),
    routing: choice("Whether the second side takes the first one's experts [free]", ROUTING_CHOICES),
    localise: flag("Name the first place where the sides part, whatever the verdict"),
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
    ...pairOptions,
  },
  examples: [
    ["parity step-1000 my-model --config Qwen3-8B", "what a trainer saved against what was converted"],
    ["parity my-model --golden golden.safetensors", "against logits that transformers computed"],
    ['parity step-1000 my-model --prompt "The quick brown fox"', "on a text"],
    ['parity a b --chat-template --image cat.jpg --prompt "What is this?"', "on a question about an image"],
  ],
  async run(args, context) {
    const [adapters, { openModel }, { runParity }] = await Promise.all([
      loadAdapters(args),
      import("../../model/model.ts"),
      import("../../parity/parity.ts"),
    ]);
    const paths = [args.required("a"), args.text("b")].filter((path) => path !== undefined);
    return withCheckpoints(paths, async (checkpoints) => {
      const [a, b] = checkpoints.map((checkpoint, i) =>
        openModel(checkpoint, sideOptionsOf(args, adapters, i === 0 ? "a" : "b")),
      );
      const saveLogits = args.text("save-logits");
      const signal = saveLogits === undefined ? context.signal : context.holdSignals();
      const running = runParity({
        a: a!,
        b,
        golden: args.text("golden"),
        input: await inputsOf(args, checkpoints),
        backend: args.choice("backend", BACKEND_CHOICES),
        maxKlNats: args.number("max-kl", 0),
        minTop1: args.share("min-top1"),
        saveLogits,
        localise: args.flag("localise"),
        afterCast: args.flag("after-cast"),
        acceptKnown: acceptancesIn(args),
        maxRamBytes: args.size("max-ram"),
        upstream: parseUpstream(args.list("upstream")),
        routing: args.choice("routing", ROUTING_CHOICES),
        signal,
        onBackend: (backend) => {
          for (const note of backendNotes(backend)) context.print(`${note}\n\n`);
        },
        onProgress: (event) => context.progress({ ...event, label: event.unit === "FLOP" ? "forward" : event.label }),
      });
      const report = await untilAborted(signal, running);
      const tokenizer = tokenizerBeside(args, checkpoints);
      const { tokenTexts } = await import("../../parity/inputs/token-texts.ts");
      return parityDocument(report, tokenizer === null ? undefined : await tokenTexts(report.nextTokens, tokenizer));
    });
  },
};
