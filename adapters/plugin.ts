// The kit for adapters from outside (docs/add-a-family.md). A module that --adapter loads gets the kit as an argument.
// So it imports nothing, and its errors are instances of this command's classes.
import { ropeTable, transformersFrequencies } from "../numerics/rope.ts";
import { InputError } from "../src/base/errors.ts";
import type { Adapter } from "../src/family/adapter.ts";
import { defineFamily } from "../src/family/define.ts";
import * as rules from "../src/table/rule.ts";
import { ConfigReader, isJsonObject } from "./common/config-reader.ts";
import { checkHeads, parseHfDtype } from "./common/heads.ts";
import { hfImageProcessor, pixelSteps, resizing } from "./common/processor-config.ts";
import { qwen2VlImageProcessor } from "./common/qwen-image-processor.ts";
import { hfRopeParameters, parseHfRope } from "./common/rope-config.ts";

export type { Forward, KnownDifference } from "../numerics/graph.ts";
export type { RopeSpec } from "../numerics/rope.ts";
export type { JsonObject } from "../src/base/json.ts";
export type { Adapter } from "../src/family/adapter.ts";
export type { FamilySpec, LayoutRow } from "../src/family/define.ts";
export type { Encodable } from "../src/family/encodable.ts";
export type { Family, VisionInput } from "../src/family/family.ts";
export type { Layout } from "../src/family/layout.ts";
export type { ImageProcessor, ImageSteps } from "../src/family/processor.ts";
export type { Dims, Rule, Side, Term } from "../src/table/rule.ts";
export type { ConfigReader } from "./common/config-reader.ts";
export type { ProcessorFields } from "./common/processor-config.ts";

interface Helpers {
  readonly defineFamily: typeof defineFamily;
  readonly ConfigReader: typeof ConfigReader;
  readonly isJsonObject: typeof isJsonObject;
  readonly checkHeads: typeof checkHeads;
  readonly parseHfDtype: typeof parseHfDtype;
  readonly parseHfRope: typeof parseHfRope;
  readonly hfRopeParameters: typeof hfRopeParameters;
  readonly transformersFrequencies: typeof transformersFrequencies;
  readonly ropeTable: typeof ropeTable;
  readonly hfImageProcessor: typeof hfImageProcessor;
  readonly pixelSteps: typeof pixelSteps;
  readonly resizing: typeof resizing;
  readonly qwen2VlImageProcessor: typeof qwen2VlImageProcessor;
  readonly InputError: typeof InputError;
}

/** The rule vocabulary, readers of configs, RoPE for graphs, image processors, and the error for what is not acceptable. */
export type AdapterKit = typeof rules & Helpers;

export const kit: AdapterKit = {
  ...rules,
  defineFamily,
  ConfigReader,
  isJsonObject,
  checkHeads,
  parseHfDtype,
  parseHfRope,
  hfRopeParameters,
  transformersFrequencies,
  ropeTable,
  hfImageProcessor,
  pixelSteps,
  resizing,
  qwen2VlImageProcessor,
  InputError,
};

/** Default export of a module for --adapter. An adapter itself works, too. */
export type MakeAdapter = (kit: AdapterKit) => Adapter;
