import { resolve } from "node:path";
import type { OneFile } from "../../../output/one-file.ts";
import { sealDocument } from "../../../report/views/seal.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { flag, sideOptions, sideOptionsOf } from "../../options.ts";

export const seal: Command = {
  usage: "seal <path> [file]",
  describe: "What the model is, whatever its layout: SHA-256 a tensor, one root, the config's hash",
  positionals: { path: "a checkpoint's directory or file", file: "where to write the seal [stdout]" },
  options: { ...sideOptions, force: flag("Replace a seal that stands there") },
  examples: [["seal my-model my-model.seal.json", "to be kept, published or signed beside the model"]],
  async run(args, context) {
    const [adapters, { seal: make }, { encodeSeal, isSeal }, output] = await Promise.all([
      loadAdapters(args),
      import("../../../verify/identity/seal.ts"),
      import("../../../verify/identity/seal-file.ts"),
      import("../../../output/one-file.ts"),
    ]);
    const file = args.text("file");
    const target: Omit<OneFile, "text"> | null =
      file === undefined ? null : { path: resolve(file), force: args.flag("force"), noun: "seal", isOfKind: isSeal };
    if (target !== null) output.checkOneFile(target);
    const sealed = await withCheckpoints([args.required("path")], ([checkpoint]) =>
      make(checkpoint!, {
        ...sideOptionsOf(args, adapters),
        onProgress: context.progress,
        signal: context.signal,
      }),
    );
    const text = encodeSeal(sealed.seal);
    if (target !== null) output.writeOneFile({ ...target, text });
    return sealDocument(sealed, file ?? null);
  },
};
