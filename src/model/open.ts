import { InputError } from "../base/errors.ts";
import { headersOnly } from "../base/witness.ts";
import { namedFor } from "../foreign/foreign.ts";
import { nearby } from "../foreign/nearby.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openDcp } from "../formats/dcp/open.ts";
import { rootOf, type StepFiles, stepIn } from "../formats/deepspeed/names.ts";
import { openDeepspeed } from "../formats/deepspeed/open.ts";
import { ADAPTER_FILE, TRAINER_FILE } from "../formats/file-names.ts";
import { parseIndexName } from "../formats/index-name.ts";
import { locate, type PathOrLocation } from "../formats/io/disk-folder.ts";
import { type Folder, inFolder, type Location } from "../formats/io/folder.ts";
import { openTorchFile } from "../formats/pt/open.ts";
import { isTrainersRank, rankSetOf } from "../formats/pt/rank-names.ts";
import { openRankParts } from "../formats/pt/rank-parts.ts";
import { openRanks, RANK_FILE, rankFilesIn } from "../formats/pt/ranks.ts";
import { isTorchShard, openTorchShards, torchShardsIn, torchShardsOf } from "../formats/pt/shards.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { openSafetensors } from "../formats/safetensors/open.ts";
import { beginsSafetensors, beginsTorch, headOf } from "../formats/sniff.ts";
import { latestIteration } from "../formats/tracker.ts";
import { checkArgument } from "./argument-kinds.ts";
import { isTrainerState } from "./keys.ts";
import { wayTo } from "./not-there.ts";

/** Files of checkpoints in a folder. */
interface Contents {
  readonly dcp: readonly string[];
  readonly safetensors: readonly string[];
  readonly torch: readonly string[];
}

/**
 * Opens a directory or a file of any format; what it is shows in its content, never in its name alone.
 * Reads headers only. Throws InputError: NOT_FOUND, NOT_A_CHECKPOINT, AMBIGUOUS_CHECKPOINT, or what the format finds.
 */
export function openCheckpoint(at: PathOrLocation): Checkpoint {
  checkArgument("openCheckpoint", "path", at);
  const location = locate(at);
  try {
    return headersOnly(() =>
      location.file === null ? openFolder(location.folder) : openFile(location, location.file),
    );
  } catch (error) {
    throw namedFor(location, error);
  }
}

function openFile(location: Location, name: string): Checkpoint {
  const { path, folder } = location;
  checkKind(location, name);
  const index = parseIndexName(name);
  if (index?.kind === "safetensors") return openSafetensors(location);
  if (index?.kind === "bin") return openTorchShards(folder, torchShardsOf(folder, name), path);
  if (name === ".metadata" || name.endsWith(".distcp")) return openDcp(folder);
  if (RANK_FILE.test(name) && rankFilesIn(folder).length === 1) return openRanks(folder, [name]);
  const head = headOf(folder, name);
  if (beginsSafetensors(head) || (name.endsWith(".safetensors") && !beginsTorch(head)))
    return openSafetensors(location);
  if (beginsTorch(head) || /\.(?:pt|pth|bin|ckpt)$/.test(name)) return openTorchFile(location);
  throw new InputError("NOT_A_CHECKPOINT", `${path}: not a checkpoint`, {
    file: path,
    expected: "a safetensors file, an index (*.safetensors.index.json, *.bin.index.json) or a file of torch.save",
    found: head.length === 0 ? "an empty file" : `a file that begins with ${head.subarray(0, 8).toString("hex")}`,
    help: "give a checkpoint's directory, or one of these files",
  });
}

function checkKind(location: Location, name: string): void {
  const { path, folder } = location;
  const kind = folder.kind(name);
  if (kind === "file") return;
  if (kind === null) {
    throw new InputError("NOT_FOUND", `${path}: no such file or directory`, {
      file: path,
      help: wayTo(location, "check the path of the checkpoint"),
    });
  }
  throw new InputError("NOT_A_CHECKPOINT", `${path}: neither a file nor a directory`, {
    file: path,
    help: "give the path of a checkpoint's directory or file",
  });
}

function openFolder(folder: Folder): Checkpoint {
  const { path } = folder;
  const { dcp, safetensors, torch } = contentsOf(folder);
  if (dcp.length > 0 && safetensors.length > 0) {
    throw new InputError("AMBIGUOUS_CHECKPOINT", `${path}: holds both a DCP and a safetensors checkpoint`, {
      file: path,
      expected: "one checkpoint",
      found: `${dcp[0]} and ${safetensors[0]}`,
      help: `name the one you mean: ${folder.pathOf(".metadata")} or ${folder.pathOf(safetensors[0] ?? "")}`,
    });
  }
  if (dcp.length > 0) return openDcp(folder);
  if (safetensors.length > 0) return openSafetensors({ path, folder, file: null });
  const step = stepIn(folder);
  if (step !== null) return openStep(step, path);
  if (torch.length > 0 && torch.every((name) => RANK_FILE.test(name))) return openRanks(folder, torch);
  const ranks = rankSetOf(folder, torch);
  const joined = ranks && openRankParts(folder, ranks);
  if (joined !== null) return joined;
  const shards = torch.every((name) => isTorchShard(name) || parseIndexName(name) !== null)
    ? torchShardsIn(folder, torch)
    : null;
  if (shards !== null) return openTorchShards(folder, shards, path);
  const latest = latestIn(folder);
  if (latest !== null) return latest;
  const [only, second] = torch;
  if (only !== undefined && second === undefined) return openTorchFile(inFolder(folder, only));
  if (second !== undefined) {
    throw new InputError("AMBIGUOUS_CHECKPOINT", `${path}: holds ${torch.length} torch files`, {
      file: path,
      expected: "one checkpoint",
      found: torch.slice(0, 4).join(", ") + (torch.length > 4 ? ", …" : ""),
      help: "name the file you mean",
    });
  }
  throw notACheckpoint(folder);
}

/** Weights of ZeRO's partitions; without them the one file of all ranks, in training's precision. */
function openStep(step: StepFiles, path: string): Checkpoint {
  const whole = step.model.get(null);
  const companions = rootOf(step) ?? undefined;
  if (step.optimizer.size > 0 || whole === undefined) return openDeepspeed(step, path, companions);
  return openTorchFile({ path, folder: step.folder, file: whole });
}

/**
 * Of a folder of Megatron-LM's, the iteration that its tracker names, where that is one checkpoint; config and tokenizer may
 * lie above it.
 */
function latestIn(folder: Folder): Checkpoint | null {
  const name = latestIteration(folder);
  if (name === null) return null;
  const iteration = folder.folder(name);
  return contentsOf(iteration).dcp.length === 0 ? null : openDcp(iteration, folder);
}

/** By names alone. An adapter is the checkpoint only where there is no other. */
function contentsOf(folder: Folder): Contents {
  const all = contentsAmong(folder.list());
  const safetensors = all.safetensors.filter((name) => !ADAPTER_FILE.test(name));
  const isBeside = all.dcp.length + safetensors.length + all.torch.length > 0;
  return isBeside ? { ...all, safetensors } : all;
}

function contentsAmong(names: readonly string[]): Contents {
  return {
    dcp: names.filter((name) => name.endsWith(".distcp") || /^(?:__\d+)?\.metadata$/.test(name)),
    safetensors: names.filter(
      (name) => name !== SCALES_NAME && (name.endsWith(".safetensors") || parseIndexName(name)?.kind === "safetensors"),
    ),
    torch: torchNames(names),
  };
}

/** Files of torch.save that may be the model: a whole `pytorch_model.bin`, else its shards, and `.pt` files. */
function torchNames(names: readonly string[]): readonly string[] {
  const isWhole = names.includes("pytorch_model.bin");
  const ofModel = names.filter((name) => name.startsWith("pytorch_model") || parseIndexName(name)?.kind === "bin");
  const bins = ofModel.filter((name) => parseIndexName(name)?.kind === "bin" || /\.bin$/.test(name));
  return [
    ...names.filter((name) => /\.(?:pt|pth|ckpt)$/.test(name) && !TRAINER_FILE.test(name) && !isTrainersRank(name)),
    ...(isWhole ? ["pytorch_model.bin"] : bins),
  ];
}

function notACheckpoint(folder: Folder): InputError {
  const { path } = folder;
  const below = nearby(folder, { holdsCheckpoint, holdsModel });
  return new InputError("NOT_A_CHECKPOINT", `${path}: no checkpoint in this directory`, {
    file: path,
    expected: ".metadata with *.distcp, *.safetensors, consolidated.NN.pth, or one .pt, .pth or pytorch_model.bin",
    found: folder.list().slice(0, 5).join(", ") || "an empty directory",
    help:
      below === null
        ? "give the directory that holds the files named above"
        : `there ${below.count === 1 ? "is one" : `are ${below.count}`} below it; did you mean ${below.meant}?`,
  });
}

const holdsCheckpoint = (folder: Folder): boolean =>
  Object.values(contentsOf(folder)).some((found: readonly string[]) => found.length > 0);

function holdsModel(folder: Folder): boolean {
  const checkpoint = openFolder(folder);
  const holds = [...checkpoint.tensors.keys()].some((key) => !isTrainerState(checkpoint, key));
  checkpoint.close();
  return holds;
}
