import { convertDocument } from "../../../report/views/convert.ts";
import type { Command } from "../../command.ts";
import { loadAdapters } from "../../load.ts";
import { adapterOptions, conversionOptionsOf, convertOptions, flag, text } from "../../options.ts";

const {
  to: _to,
  config: _config,
  layout: _layout,
  "allow-drop": _drop,
  "merge-adapter": _merge,
  ...shared
} = convertOptions;

export const init: Command = {
  usage: "init <config> <target>",
  describe: "A seeded random checkpoint of a config: equal bits whatever the layout, format and ranks",
  positionals: {
    config: "Hugging Face's config.json, or a directory holding one",
    target: "what to write: *.safetensors, *.pt and *.pth are files, any other is a directory",
  },
  options: {
    ...shared,
    ...adapterOptions,
    to: text("Layout of the target [hf]"),
    dtype: text("Type of the weights [what the config declares]; GLOB=TYPE for some; repeatable"),
    seed: text("Any text: the same seed gives the same weights [0]"),
    force: flag("Replace a target that is a checkpoint; nothing else is ever replaced"),
    "no-fsync": flag("Do not wait until the disk has everything"),
  },
  examples: [
    ["init Qwen3-8B random", "a Hugging Face folder of that config, random weights"],
    ["init Qwen3-8B step-0 --to torchtitan --ranks 8", "the same weights for a trainer, in a file a rank"],
  ],
  async run(args, context) {
    const [adapters, { planInit }, { convert }] = await Promise.all([
      loadAdapters(args),
      import("../../../convert/init/init.ts"),
      import("../../../convert/convert.ts"),
    ]);
    const seed = args.text("seed") ?? "0";
    const plan = planInit(args.required("config"), args.required("target"), {
      ...conversionOptionsOf(args, adapters),
      seed,
      sha256: context.hasDocument,
    });
    const result = await convert(plan, {
      force: args.flag("force"),
      fsync: !args.flag("no-fsync"),
      onProgress: context.progress,
      signal: context.holdSignals(),
    });
    const document = convertDocument(result);
    return { ...document, title: "init", facts: [{ label: "seed", value: seed }, ...document.facts] };
  },
};
