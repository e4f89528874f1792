// The document of a part, read back.
import { LogitRows, ROW_NAMES } from "../../../numerics/logit-rows.ts";
import type { TokenPair } from "../../../numerics/pictured.ts";
import { measured } from "../../../numerics/tap-sums.ts";
import type { JsonReader } from "../../base/json.ts";
import type { Cause } from "../../faults/cause.ts";
import type { RoutingOfInput } from "../forward/outcome.ts";
import type { ComputedOn } from "../forward/report.ts";
import type { NextToken } from "../next-tokens.ts";
import type { NoiseFloor } from "../noise.ts";
import type { InputTaps } from "../pass-plans.ts";
import type { RawBits } from "../seen/bits.ts";
import type { Reader } from "../seen/exercised.ts";
import { FINDING_CODES } from "../verdict/findings.ts";
import type { PartPlan } from "./plan.ts";
import { doubles, maybe, number, numbers, pairs, sizes, texts } from "./readers.ts";
import { countOf, type PartFigures, type PartResult } from "./result.ts";

export const readResult = (root: JsonReader, plan: PartPlan): PartResult => ({
  plan: root.field("plan").text(),
  number: root.field("number").size(),
  of: root.field("of").size(),
  covers: root.field("covers").text(),
  ...figures(root, plan),
  routing: root.field("routing").list().map(routing),
  chosen: pairs(root.field("chosen"), (sides) => sides.list().map((side) => new Set(sizes(side)))),
  nextTokens: {
    a: root.field("nextTokens").field("a").list().map(next),
    b: root.field("nextTokens").field("b").list().map(next),
  },
  noiseFloor: root.field("noiseFloor").nullable(noise),
  rounded: root.field("rounded").nullable((values) => doubles(values)),
  bits: root.field("bits").nullable(bits),
  brokenTies: root
    .field("brokenTies")
    .list()
    .map((tie) => ({ alias: tie.field("alias").text(), of: tie.field("of").text() })),
  known: root
    .field("known")
    .list()
    .map((share) => ({
      code: share.field("code").text(),
      source: share.field("source").text(),
      explanation: share.field("explanation").text(),
      fix: share.field("fix").text(),
      ...figures(share, plan),
    })),
  verdict: root.field("verdict").oneOf(["pass", "fail"], "verdict"),
  findings: root
    .field("findings")
    .list()
    .map((each) => ({
      code: each.field("code").oneOf(FINDING_CODES, "finding"),
      message: each.field("message").text(),
    })),
  causes: root.field("causes").list().map(cause),
  divergence: root.field("divergence").nullable((at) => ({
    tap: at.field("tap").text(),
    added: number(at.field("added")),
    inherited: number(at.field("inherited")),
    tensors: texts(at.field("tensors")),
  })),
  nextSteps: texts(root.field("nextSteps")),
  backend: computedOn(root.field("backend")),
  memory: {
    largestStepWeightBytes: number(root.field("memory").field("largestStepWeightBytes")),
    activationBytes: number(root.field("memory").field("activationBytes")),
    plannedBytes: number(root.field("memory").field("plannedBytes")),
    backendPeakBytes: number(root.field("memory").field("backendPeakBytes")),
  },
  peakRamBytes: number(root.field("peakRamBytes")),
  seconds: number(root.field("seconds")),
});

function figures(root: JsonReader, plan: PartPlan): PartFigures {
  const rows = root.field("rows");
  const range = { begin: rows.field("range").field("begin").size(), end: rows.field("range").field("end").size() };
  const [own, notes] = [LogitRows.numbersFor(0), rows.field("notes")];
  for (const name of ROW_NAMES) {
    own[name] = doubles(rows.field("numbers").field(name), countOf(name, range.end - range.begin));
  }
  const sample = (name: string) => {
    const of = notes.field("sample").field(name);
    return { reference: numbers(of.field("reference")), candidate: numbers(of.field("candidate")) };
  };
  const worst = notes.field("worst");
  return {
    rows: new LogitRows(plan.rows, range, own, {
      worst: { klNats: number(worst.field("klNats")), tokens: worst.field("tokens").list().map(tokenPair) },
      nonFinite: notes.field("nonFinite").nullable((bad) => ({
        first: {
          side: bad.field("first").field("side").oneOf(["reference", "candidate"], "side"),
          ...maybe(bad.field("first"), "prompt", (prompt) => prompt.size()),
          position: bad.field("first").field("position").size(),
          token: bad.field("first").field("token").size(),
          value: bad.field("first").field("value").text(),
        },
        positions: bad.field("positions").size(),
      })),
      sample: { spread: sample("spread"), likeliest: sample("likeliest") },
    }),
    taps: root.field("taps").list().map(inputTaps),
  };
}

const inputTaps = (input: JsonReader): InputTaps => ({
  prompt: input.field("prompt").size(),
  taps: input
    .field("taps")
    .list()
    .map((tap) => {
      const sums = tap.field("sums");
      return measured(tap.field("tap").text(), {
        difference: numbers(sums.field("difference")),
        reference: numbers(sums.field("reference")),
      });
    }),
});

const tokenPair = (pair: JsonReader): TokenPair => ({
  id: pair.field("id").size(),
  reference: number(pair.field("reference")),
  candidate: number(pair.field("candidate")),
});

const next = (token: JsonReader): NextToken => ({
  id: token.field("id").size(),
  probability: number(token.field("probability")),
});

function routing(of: JsonReader): RoutingOfInput {
  const compared = of.field("compared");
  return {
    prompt: of.field("prompt").size(),
    compared: {
      name: compared.field("name").text(),
      tokens: compared.field("tokens").size(),
      flipped: compared.field("flipped").nullable((count) => count.size()),
      largestFlippedMargin: compared.field("largestFlippedMargin").nullable(number),
      smallestMargin: number(compared.field("smallestMargin")),
      expertsUsed: compared.field("expertsUsed").size(),
    },
    used: sizes(of.field("used")),
  };
}

const noise = (floor: JsonReader): NoiseFloor => ({
  klMeanNats: number(floor.field("klMeanNats")),
  klMaxNats: number(floor.field("klMaxNats")),
  maxAbsDiff: number(floor.field("maxAbsDiff")),
  top1: number(floor.field("top1")),
  tokens: floor.field("tokens").size(),
  side: floor.field("side").oneOf(["a", "b"], "side"),
  method: floor.field("method").text(),
});

const bits = (of: JsonReader): RawBits => ({
  equal: of.field("equal").size(),
  rounded: of.field("rounded").size(),
  different: of
    .field("different")
    .list()
    .map((each) => ({
      key: each.field("key").text(),
      reader: reader(each.field("reader")),
      rows: sizes(each.field("rows")),
    })),
});

function reader(of: JsonReader): Reader {
  const kind = of.field("kind").oneOf(["whole", "nothing", "rows", "experts"], "way of reading");
  switch (kind) {
    case "rows":
      return { kind, rows: new Set(sizes(of.field("rows"))) };
    case "experts": {
      const parts = of.field("parts").list();
      return {
        kind,
        parts: parts.map((part) => ({
          mixture: part.field("mixture").text(),
          expert: part.field("expert").size(),
          begin: part.field("begin").size(),
          end: part.field("end").size(),
        })),
      };
    }
    case "whole":
    case "nothing":
      return { kind };
    default:
      throw kind satisfies never;
  }
}

const cause = (of: JsonReader): Cause => ({
  code: of.field("code").text(),
  tensors: texts(of.field("tensors")),
  fields: texts(of.field("fields")),
  explanation: of.field("explanation").text(),
  evidence: of.field("evidence").text(),
  fix: of.field("fix").text(),
});

const computedOn = (of: JsonReader): ComputedOn => ({
  name: of.field("name").oneOf(["webgpu", "wasm", "cpu"], "backend"),
  adapter: of.field("adapter").nullable((name) => name.text()),
  ...maybe(of, "library", (name) => name.text()),
  ...maybe(of, "fallbackFrom", (name) => name.text()),
  ...maybe(of, "fallbackReason", (name) => name.text()),
  ...maybe(of, "choice", (name) => name.text()),
});
