// The document that all parts of a run have in common, read back.
import type { AttentionMask } from "../../../numerics/graph.ts";
import { isDtype } from "../../base/dtype.ts";
import type { JsonReader } from "../../base/json.ts";
import type { ConfigDifference } from "../../family/config-differences.ts";
import { PROJECTS } from "../../family/upstream.ts";
import { FORMATS } from "../../formats/checkpoint.ts";
import { termsIn } from "../../output/parts/documents.ts";
import type { SideCast } from "../casts.ts";
import { ROUTING_CHOICES } from "../choices.ts";
import type { SideConfig } from "../configs.ts";
import type { SideReport } from "../forward/report.ts";
import type { ParityInputs, PromptReport } from "../inputs/resolved.ts";
import type { Outlook } from "../seen/coverage.ts";
import type { PassReads } from "../verdict/evidence.ts";
import type { Foreseen } from "../verdict/judge.ts";
import type { Asked, PartPlan } from "./plan.ts";
import { maybe, number, pairs, sizes, texts } from "./readers.ts";

export const readPlan = (root: JsonReader): PartPlan => ({
  plan: root.field("plan").text(),
  target: root.field("target").text(),
  of: root.field("of").size(),
  terms: termsIn(root),
  asked: asked(root.field("asked")),
  codes: pairs(root.field("codes"), (code) => maybe(code, "smallKlNats", number)),
  rows: { starts: sizes(root.field("rows").field("starts")), rows: root.field("rows").field("rows").size() },
  foreseen: foreseen(root.field("foreseen")),
  head: head(root.field("head")),
});

const asked = (of: JsonReader): Asked => ({
  maxKlNats: of.field("maxKlNats").nullable(number),
  minTop1: of.field("minTop1").nullable(number),
  localise: of.field("localise").boolean(),
  acceptances: of
    .field("acceptances")
    .list()
    .map((each) => ({ code: each.field("code").nullable((code) => code.text()), ...maybe(each, "klNats", number) })),
  routing: of.field("routing").oneOf(ROUTING_CHOICES, "routing"),
});

const foreseen = (of: JsonReader): Foreseen => ({
  plans: of.field("plans").list().map(passReads),
  configDifferences: of.field("configDifferences").list().map(configDifference),
  unusedTensors: texts(of.field("unusedTensors")),
  cast: of.field("cast").nullable(cast),
  exact: of.field("exact").boolean(),
  golden: of.field("golden").boolean(),
  goldenTaps: of.field("goldenTaps").nullable((width) => width.oneOf(["wide", "narrow"], "width")),
  goldenType: of.field("goldenType").nullable((type) => type.oneOf(["BF16", "F16"], "type of a golden")),
  isByLayers: of.field("isByLayers").boolean(),
  outlook: outlook(of.field("outlook")),
});

const passReads = (plan: JsonReader): PassReads => ({
  steps: plan
    .field("steps")
    .list()
    .map((step) => ({ tap: step.field("tap").text(), weights: texts(step.field("weights")) })),
});

const configDifference = (of: JsonReader): ConfigDifference => ({
  field: of.field("field").text(),
  a: of.field("a").value,
  b: of.field("b").value,
  ...maybe(of, "absent", (absent) => ({
    in: absent.field("in").oneOf(["a", "b"], "side"),
    ...maybe(absent, "default", (value) => value.value),
  })),
});

const cast = (of: JsonReader): SideCast => ({
  types: of
    .field("types")
    .list()
    .map((type) => ({
      from: dtype(type.field("from")),
      to: dtype(type.field("to")),
      tensors: type.field("tensors").size(),
    })),
  asked: of.field("asked").boolean(),
});

const dtype = (of: JsonReader) => {
  const name = of.text();
  return isDtype(name) ? name : of.fail("element type");
};

const outlook = (of: JsonReader): Outlook => ({
  tokens: of.field("tokens").size(),
  images: of.field("images").size(),
  seesImages: of.field("seesImages").boolean(),
  configs: {
    a: of.field("configs").field("a").nullable(sideConfig),
    b: of.field("configs").field("b").nullable(sideConfig),
    ...maybe(of.field("configs"), "unread", texts),
  },
  masks: of.field("masks").list().map(mask),
  longOnly: of
    .field("longOnly")
    .list()
    .map((each) => ({ what: each.field("what").text(), tokens: each.field("tokens").size() })),
  unexercised: texts(of.field("unexercised")),
  tables: of
    .field("tables")
    .list()
    .map((table) => ({
      key: table.field("key").text(),
      rows: table.field("rows").size(),
      picked: table.field("picked").size(),
    })),
  mixtures: pairs(of.field("mixtures"), (experts) => experts.size()),
  onlyIn: { a: texts(of.field("onlyIn").field("a")), b: texts(of.field("onlyIn").field("b")) },
});

const sideConfig = (of: JsonReader): SideConfig => ({
  path: of.field("path").text(),
  sha256: of.field("sha256").text(),
  origin: of.field("origin").oneOf(["own", "given", "given for it"], "origin"),
});

const mask = (of: JsonReader): AttentionMask => ({
  kind: of.field("kind").oneOf(["window", "chunk"], "mask"),
  size: of.field("size").size(),
});

const head = (of: JsonReader): PartPlan["head"] => ({
  inputs: inputs(of.field("inputs")),
  upstream: {
    versions: of
      .field("upstream")
      .field("versions")
      .list()
      .map((each) => ({
        project: each.field("project").oneOf(PROJECTS, "project"),
        version: each.field("version").text(),
        given: each.field("given").boolean(),
        checked: texts(each.field("checked")),
      })),
    changes: of
      .field("upstream")
      .field("changes")
      .list()
      .map((each) => ({
        code: each.field("code").text(),
        project: each.field("project").oneOf(PROJECTS, "project"),
        does: each.field("does").text(),
        otherwise: each.field("otherwise").text(),
        permalink: each.field("permalink").text(),
      })),
  },
  ignoredTensors: of
    .field("ignoredTensors")
    .list()
    .map((each) => ({ key: each.field("key").text(), reason: each.field("reason").text() })),
  reference: of.field("reference").oneOf(["a", "b"], "side"),
  a: side(of.field("a")),
  b: side(of.field("b")),
});

const KINDS = ["ids", "prompt", "random", "golden"] as const;

const input = (of: JsonReader) => ({
  kind: of.field("kind").oneOf(KINDS, "kind of input"),
  sha256: of.field("sha256").text(),
  ...maybe(of, "images", (images) => images.size()),
  ...maybe(of, "source", (source) => source.text()),
  ...maybe(of, "note", (note) => note.text()),
});

const inputs = (of: JsonReader): ParityInputs => ({
  ...input(of),
  tokens: of.field("tokens").size(),
  ...maybe(of, "seed", (seed) => seed.size()),
  ...maybe(of, "prompts", (prompts) =>
    prompts.list().map(
      (prompt): PromptReport => ({
        ...input(prompt),
        tokens: prompt.field("tokens").size(),
        klMeanNats: number(prompt.field("klMeanNats")),
        klMaxNats: number(prompt.field("klMaxNats")),
        top1: number(prompt.field("top1")),
      }),
    ),
  ),
});

const side = (of: JsonReader): SideReport => ({
  path: of.field("path").text(),
  family: of.field("family").nullable((family) => family.text()),
  layout: of.field("layout").nullable((layout) => layout.text()),
  format: of.field("format").oneOf(FORMATS, "format"),
  dtype: of.field("dtype").text(),
  encoding: of.field("encoding").nullable((encoding) => encoding.text()),
  ...maybe(of, "spelling", texts),
});
