// What `convert --push` and `convert --card` do behind a conversion.
import { UsageError } from "../../base/errors.ts";
import type { ConversionPlan } from "../../convert/plan.ts";
import type { PushOptions } from "../../push/work.ts";
import type { ReportDocument } from "../../report/document.ts";
import { withCard, withPush } from "../../report/views/push.ts";
import type { Arguments } from "../arguments.ts";
import type { Command, Context } from "../command.ts";
import { Unfinished } from "../fail.ts";
import { withCheckpoints } from "../load.ts";
import { flag, text } from "../options.ts";
import { differencesShown, type HubPlace, hubPlace } from "./place.ts";

export const publicationOptions: Command["options"] = {
  push: text("Also upload the target to the Hub, in one commit with a model card: hf://owner/name[@branch][/folder]"),
  pr: flag("With --push: open a pull request instead of a commit"),
  public: flag("With --push: make a repository that is not there yet public"),
  card: flag("Write what is known of the model into the target's README.md, in a section of its own"),
};

/** Null where neither was asked for. Throws UsageError PUSH_PLACE, PUSH_NOTHING, PUSH_OF_PART; InputError HUB_ADDRESS. */
export async function publicationOf(args: Arguments, context: Context): Promise<Publication | null> {
  const to = args.text("push");
  const isCard = args.flag("card");
  const lonely = ["pr", "public"].find((name) => args.flag(name));
  if (to === undefined && lonely !== undefined) {
    throw new UsageError("PUSH_NOTHING", `--${lonely} is about a push, and there is none`, {
      help: `add --push hf://owner/name, or leave --${lonely} out`,
    });
  }
  if (to === undefined && !isCard) return null;
  if (args.text("part") !== undefined) {
    throw new UsageError("PUSH_OF_PART", "a part is no model: there is nothing to push, and nothing to tell of it", {
      found: `--part and --${to === undefined ? "card" : "push"}`,
      help: "once all parts are there: finalize TARGET, then push TARGET hf://owner/name, or push TARGET --card",
    });
  }
  return new Publication(args, context, to === undefined ? null : await hubPlace(to), isCard);
}

export class Publication {
  constructor(
    private readonly args: Arguments,
    private readonly context: Context,
    private readonly place: HubPlace | null,
    private readonly isCard: boolean,
  ) {}

  /** Before anything is read: whether the Hub would take it. Throws UsageError PUSH_NOT_A_FOLDER and what `preflight` throws. */
  async check({ target, files }: ConversionPlan): Promise<void> {
    if (target.fileName !== null) {
      throw new UsageError("PUSH_NOT_A_FOLDER", `${target.path}: one file has no card, and is no repository`, {
        expected: "a directory as target",
        found: target.path,
        help: "name a directory, or leave out --push and --card",
      });
    }
    if (this.place === null) return;
    const { preflight } = await import("../../push/preflight.ts");
    await preflight(this.place.address, files, await this.request());
  }

  /** Throws what pushing throws, with the way on: the conversion stays. */
  async carriedOut(
    document: ReportDocument,
    target: string,
    options: PushOptions["adapters"],
  ): Promise<ReportDocument> {
    const { hashesOfMade, reportOfMade } = await import("../../push/evidence/made.ts");
    const { data, checks } = document;
    const made = reportOfMade({ data, checks, command: this.context.command });
    const facts = {
      adapters: options,
      reports: [made],
      hashes: hashesOfMade(made),
      seal: true,
      onProgress: this.context.progress,
      signal: this.context.signal,
    };
    let told = document;
    try {
      if (this.isCard) {
        const { writeCard } = await import("../../push/write-card.ts");
        const written = await withCheckpoints([target], async ([checkpoint]) =>
          writeCard(checkpoint!, this.place?.shown ?? null, facts),
        );
        told = withCard(told, written);
      }
      if (this.place === null) return told;
      const { address } = this.place;
      const { push } = await import("../../push/push.ts");
      const request = { ...facts, ...(await this.request()), onDifferences: differencesShown(this.context) };
      const pushed = await withCheckpoints([target], async ([checkpoint]) => push(checkpoint!, address, request));
      return withPush(told, pushed);
    } catch (error) {
      const again = this.place === null ? `push ${target} --card` : `push ${target} ${this.place.shown}`;
      throw new Unfinished(error, `the conversion is done, in ${target}: \`${again}\` does the rest`);
    }
  }

  private async request() {
    const { hubSettings } = await import("../../hub/settings.ts");
    return {
      settings: hubSettings(),
      force: this.args.flag("force"),
      pullRequest: this.args.flag("pr"),
      public: this.args.flag("public"),
    };
  }
}
