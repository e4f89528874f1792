// What a gate file asks of each of its checkpoints, with paths as they are from the file's folder.
import { pathFrom } from "../../base/addresses.ts";
import type { Adapter } from "../../family/adapter.ts";
import { parseUpstream } from "../../family/upstream.ts";
import { locate } from "../../formats/io/disk-folder.ts";
import { has } from "../../formats/io/folder.ts";
import type { ModelOptions } from "../../model/model.ts";
import type { InputRequest } from "../../parity/inputs/read.ts";
import type { Accepted } from "../waivers.ts";
import type { GateAccept, GateCheckpoint, GateFile, GateInputs } from "./gate-file.ts";
import type { GatePage } from "./run.ts";

/** @param sizeOf reads `8GB` */
export function pagesOf(
  gate: GateFile,
  file: string,
  adapters: readonly Adapter[],
  sizeOf: (text: string) => number,
): GatePage[] {
  const at = placeOf(file);
  return gate.checkpoints.map((entry) => {
    const { source, target, profile, goldens = [], seal } = entry;
    const limits = { ...gate.limits, ...entry.limits };
    const inputs = entry.inputs ?? gate.inputs;
    return {
      name: entry.name ?? [source, target].filter(Boolean).join(" → "),
      source: { path: at(source), options: optionsOf(entry, adapters, at, entry.sourceConfig) },
      target:
        target === undefined
          ? undefined
          : { path: at(target), options: optionsOf(entry, adapters, at, entry.targetConfig) },
      profile,
      goldens: goldens.map(at),
      seal: seal === undefined ? undefined : at(seal),
      blocks: entry.checks ?? gate.checks,
      require: entry.require ?? gate.require,
      input: inputs === undefined ? undefined : requestsOf(inputs, entry, at),
      accepted: acceptedOf(gate.accept, entry.accept),
      maxKlNats: limits.maxKl,
      minTop1: limits.minTop1,
      maxRamBytes: limits.maxRam === undefined ? undefined : sizeOf(limits.maxRam),
      backend: gate.backend,
      routing: gate.routing,
      upstream: parseUpstream(gate.upstream ?? []),
    };
  });
}

type At = (path: string) => string;

/** Paths of a gate file are from its folder on; addresses stay. */
export const placeOf =
  (file: string): At =>
  (path) =>
    pathFrom(file, path);

const optionsOf = (
  { family, layout, config }: GateCheckpoint,
  adapters: readonly Adapter[],
  at: At,
  own: string | undefined,
): ModelOptions => ({
  adapters,
  family,
  layout,
  config: config === undefined ? undefined : at(config),
  ownConfig: own === undefined ? undefined : at(own),
});

const acceptedOf = (all: GateAccept = {}, own: GateAccept = {}): Accepted => ({
  known: [...(all.known ?? []), ...(own.known ?? [])],
  weights: [...(all.weights ?? []), ...(own.weights ?? [])],
  config: [...(all.config ?? []), ...(own.config ?? [])],
});

function requestsOf(inputs: GateInputs, { source, target }: GateCheckpoint, at: At): readonly InputRequest[] {
  const { tokens, ids = [], files = [], prompts = [], chatTemplate = false, images = [], tokenizer } = inputs;
  const folders = [target, source].flatMap((path) => (path === undefined ? [] : [locate(at(path)).folder]));
  const own = folders.find((folder) => has(folder, "tokenizer.json")) ?? folders[0]!;
  return [
    ...(tokens === undefined ? [] : [{ kind: "random", tokens } as const]),
    ...ids.map((file) => ({ kind: "ids", file: at(file) }) as const),
    ...files.map((file) => ({ kind: "inputs", file: at(file) }) as const),
    ...prompts.map(
      (text) =>
        ({
          kind: "prompt",
          text: text.startsWith("@") ? `@${at(text.slice(1))}` : text,
          tokenizer: tokenizer === undefined ? { path: own.path, folder: own, file: null } : at(tokenizer),
          chat: chatTemplate,
          images: images.map(at),
          processors: folders,
        }) as const,
    ),
  ];
}
