import { UsageError } from "../../../base/errors.ts";
import { parseUpstream } from "../../../family/upstream.ts";
import type { PartNumber } from "../../../output/parts/place.ts";
import { BACKEND_CHOICES, BY_CHOICES, ROUTING_CHOICES } from "../../../parity/choices.ts";
import type { ForwardProgress } from "../../../parity/forward/outcome.ts";
import type { ParityReport } from "../../../parity/forward/report.ts";
import { partDocument } from "../../../report/views/parity/part.ts";
import { savedTapsDocument } from "../../../report/views/parity/saved-taps.ts";
import { backendNotes, parityDocument } from "../../../report/views/parity.ts";
import { acceptancesIn } from "../../accept-known.ts";
import type { Arguments } from "../../arguments.ts";
import type { Command } from "../../command.ts";
import { inputsOf, tokenizerBeside } from "../../input-options.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { choice, flag, pairOptions, sideOptionsOf, text } from "../../options.ts";
import { inputOptions, runOptions } from "../../parity-options.ts";
import { untilAborted } from "../../signals.ts";

/** Runs one or two checkpoints forward and compares the logits: the proof that a conversion is right. */
export const parity: Command = {
  usage: "parity <a> [b]",
  describe: "Run forward and compare logits: a against b, or against --golden",
  positionals: { a: "a checkpoint's directory or file", b: "another one of the same model" },
  options: {
    ...inputOptions,
    golden: text("safetensors with input_ids and logits to compare with"),
    localise: flag("Name the first place where the sides part, whatever the verdict"),
    by: choice(
      "layers: begin each with the hidden states that the golden has, not with those computed before it; with --part what parts are of [tokens]",
      BY_CHOICES,
    ),
    part: text("Run part i of n alone, such as 3/16, on any machine; `finalize FOLDER` joins them into one verdict"),
    into: text("With --part: the folder in which the parts meet"),
    "save-taps": text("Write what <a> computes as a golden with hidden states; nothing is compared"),
    ...runOptions,
    ...pairOptions,
  },
  examples: [
    ["parity step-1000 my-model --config Qwen3-8B", "what a trainer saved against what was converted"],
    ["parity my-model --golden golden.safetensors", "against logits that transformers computed"],
    ["parity my-model --save-taps golden.safetensors", "what the next one begins its layers with"],
    ["parity a b --prompts p.json --part 1/8 --into proof", "an eighth of the prompts; then: finalize proof"],
    ["parity step-1000 --golden golden.safetensors --by layers", "each layer from what was recorded before it"],
    ['parity step-1000 my-model --prompt "The quick brown fox"', "on a text"],
    ['parity a b --chat-template --image cat.jpg --prompt "What is this?"', "on a question about an image"],
  ],
  async run(args, context) {
    const [adapters, { openModel }, { runParity }] = await Promise.all([
      loadAdapters(args),
      import("../../../model/model.ts"),
      import("../../../parity/parity.ts"),
    ]);
    const taps = args.text("save-taps");
    const by = args.choice("by", BY_CHOICES) ?? "tokens";
    const division = divisionOf(args);
    const paths = [args.required("a"), args.text("b")].filter((path) => path !== undefined);
    return withCheckpoints(paths, async (checkpoints) => {
      const [a, b] = checkpoints.map((checkpoint, i) =>
        openModel(checkpoint, sideOptionsOf(args, adapters, i === 0 ? "a" : "b")),
      );
      const saveLogits = args.text("save-logits");
      const signal = saveLogits === undefined && taps === undefined ? context.signal : context.holdSignals();
      const options = {
        a: a!,
        b,
        golden: args.text("golden"),
        byLayers: by === "layers",
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
        onBackend: (backend: ParityReport["backend"]) => {
          for (const note of backendNotes(backend)) context.print(`${note}\n\n`);
        },
        onProgress: (event: ForwardProgress) =>
          context.progress({ ...event, label: event.unit === "FLOP" ? "forward" : event.label }),
      };
      if (taps !== undefined) {
        const { saveTaps } = await import("../../../parity/forward/save-taps.ts");
        return savedTapsDocument(await untilAborted(signal, saveTaps({ ...options, saveTaps: taps })));
      }
      if (division !== null) {
        const { runPart } = await import("../../../parity/parts/run-part.ts");
        return partDocument(await untilAborted(signal, runPart({ ...options, ...division, by })));
      }
      const report = await untilAborted(signal, runParity(options));
      const tokenizer = tokenizerBeside(args, checkpoints);
      const { tokenTexts } = await import("../../../parity/inputs/token-texts.ts");
      const { nextTokens, positions } = report;
      const texts = tokenizer === null ? undefined : await tokenTexts(nextTokens, tokenizer, positions.worst.tokens);
      return parityDocument(report, texts);
    });
  },
};

/** Null where all of the run is run here. */
function divisionOf(args: Arguments): { readonly part: PartNumber; readonly into: string } | null {
  const [part, into] = [args.part("part"), args.text("into")];
  const fail = (message: string, help: string): never => {
    throw new UsageError("PART_USAGE", message, { help });
  };
  if (part === undefined) {
    return into === undefined ? null : fail("--into is for parts", "give --part i/n, too, or leave out --into");
  }
  const other = ["save-logits", "save-taps"].find((name) => args.text(name) !== undefined);
  if (other !== undefined)
    fail(`--${other} writes all positions, and a part has some`, `leave out --part, or --${other}`);
  if (into === undefined) return fail("--part needs a folder in which the parts meet", "give --into FOLDER");
  return { part, into };
}
