import { UsageError } from "../../../base/errors.ts";
import { cardDocument, pushDocument } from "../../../report/views/push.ts";
import type { Arguments } from "../../arguments.ts";
import type { Command, Context } from "../../command.ts";
import { differencesShown, hubPlace } from "../../hub/place.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { flag, sideOptions, sideOptionsOf, text } from "../../options.ts";
import { untilAborted } from "../../signals.ts";

export const push: Command = {
  usage: "push <folder> [repository]",
  describe: "Upload a checkpoint's folder to the Hub in one commit, with what is known of it in its model card",
  positionals: {
    folder: "a checkpoint's directory",
    repository: "hf://owner/name[@branch][/folder]: made, as a private one, where it is not there",
  },
  options: {
    evidence: text(
      "A JSON report of convert, check, gate, parity, roundtrip, … on these files, for the card; repeatable",
    ),
    card: flag("Write the section of the model card into the folder's README.md, and push nothing"),
    pr: flag("Open a pull request instead of a commit"),
    force: flag("Replace and delete what else the repository holds of a checkpoint; --dry-run shows it"),
    "dry-run": flag("Only show what would change in the repository"),
    public: flag("Make a repository that is not there yet public"),
    message: text("Title of the commit"),
    "no-seal": flag("Do not read the weights for the root of their seal; the card says so"),
    ...sideOptions,
  },
  examples: [
    [
      "push my-model hf://me/my-model --evidence convert.json --evidence parity.json",
      "what these reports show is told",
    ],
    ["push my-model hf://me/my-model --dry-run", "added, replaced, deleted, kept: nothing is sent"],
    ["push my-model hf://them/model --pr", "as a proposal"],
    ["push my-model --card --evidence check.json", "the card alone, in my-model/README.md"],
  ],
  async run(args, context) {
    const [adapters, { readReport }] = await Promise.all([
      loadAdapters(args),
      import("../../../push/evidence/report.ts"),
    ]);
    const place = args.text("repository");
    const options = {
      ...sideOptionsOf(args, adapters),
      reports: args.list("evidence").map(readReport),
      seal: !args.flag("no-seal"),
      onProgress: context.progress,
      signal: context.holdSignals(),
    };
    if (args.flag("card")) return untilAborted(context.signal, cardOnly(args, place ?? null, options));
    if (place === undefined) {
      throw new UsageError("ARGUMENT_MISSING", "where to? <repository> is missing", {
        expected: "hf://owner/name, or --card",
        found: "neither",
        help: "push FOLDER hf://owner/name, or push FOLDER --card for the card alone",
      });
    }
    return untilAborted(context.signal, toHub(args, place, options, context));
  },
};

type Options = Omit<import("../../../push/work.ts").PushOptions, "settings"> & {
  readonly reports: readonly import("../../../push/evidence/report.ts").Report[];
  readonly seal: boolean;
};

async function cardOnly(args: Arguments, place: string | null, options: Options) {
  const { writeCard } = await import("../../../push/write-card.ts");
  const named = place === null ? null : (await hubPlace(place)).shown;
  return withCheckpoints([args.required("folder")], async ([checkpoint]) =>
    cardDocument(await writeCard(checkpoint!, named, options)),
  );
}

async function toHub(args: Arguments, place: string, options: Options, context: Context) {
  const [{ push: make }, { address }, { hubSettings }] = await Promise.all([
    import("../../../push/push.ts"),
    hubPlace(place),
    import("../../../hub/settings.ts"),
  ]);
  return withCheckpoints([args.required("folder")], async ([checkpoint]) =>
    pushDocument(
      await make(checkpoint!, address, {
        ...options,
        settings: hubSettings(),
        force: args.flag("force"),
        pullRequest: args.flag("pr"),
        dryRun: args.flag("dry-run"),
        public: args.flag("public"),
        message: args.text("message"),
        onDifferences: differencesShown(context),
      }),
    ),
  );
}
