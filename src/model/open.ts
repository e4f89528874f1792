import { readdirSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openDcp } from "../formats/dcp/open.ts";
import { TRAINER_FILE } from "../formats/file-names.ts";
import { openTorchFile } from "../formats/pt/open.ts";
import { openRanks, RANK_FILE } from "../formats/pt/ranks.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { openSafetensors } from "../formats/safetensors/open.ts";
import { beginsSafetensors, beginsTorch, headOf } from "../formats/sniff.ts";

/** What a directory holds, by the names of its files. */
interface Listing {
  readonly dcp: readonly string[];
  readonly safetensors: readonly string[];
  readonly torch: readonly string[];
}

/**
 * Opens a directory or a file of any format; what it is shows in its content, never in its name alone.
 * Reads headers only. Throws InputError: NOT_FOUND, NOT_A_CHECKPOINT, AMBIGUOUS_CHECKPOINT, or what the format finds.
 */
export function openCheckpoint(path: string): Checkpoint {
  return statOf(path).isDirectory() ? openDirectory(path) : openFile(path);
}

function statOf(path: string): Stats {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    throw new InputError("NOT_FOUND", `${path}: no such file or directory`, {
      file: path,
      help: "check the path of the checkpoint",
    });
  }
  if (stats.isDirectory() || stats.isFile()) return stats;
  throw new InputError("NOT_A_CHECKPOINT", `${path}: neither a file nor a directory`, {
    file: path,
    help: "give the path of a checkpoint's directory or file",
  });
}

function openFile(path: string): Checkpoint {
  if (basename(path).endsWith(".safetensors.index.json")) return openSafetensors(path);
  if (basename(path) === ".metadata" || path.endsWith(".distcp")) return openDcp(dirname(path));
  if (RANK_FILE.test(basename(path)) && rankFilesBeside(path).length === 1)
    return openRanks(dirname(path), [basename(path)]);
  const head = headOf(path);
  if (beginsSafetensors(head) || (path.endsWith(".safetensors") && !beginsTorch(head))) return openSafetensors(path);
  if (beginsTorch(head) || /\.(?:pt|pth|bin|ckpt)$/.test(path)) return openTorchFile(path);
  throw new InputError("NOT_A_CHECKPOINT", `${path}: not a checkpoint`, {
    file: path,
    expected: "a safetensors file, an index (*.safetensors.index.json) or a file of torch.save",
    found: head.length === 0 ? "an empty file" : `a file that begins with ${head.subarray(0, 8).toString("hex")}`,
    help: "give a checkpoint's directory, or one of these files",
  });
}

function openDirectory(path: string): Checkpoint {
  const { dcp, safetensors, torch } = list(path);
  if (dcp.length > 0 && safetensors.length > 0) {
    throw new InputError("AMBIGUOUS_CHECKPOINT", `${path}: holds both a DCP and a safetensors checkpoint`, {
      file: path,
      expected: "one checkpoint",
      found: `${dcp[0]} and ${safetensors[0]}`,
      help: `name the one you mean: ${join(path, ".metadata")} or ${join(path, safetensors[0] ?? "")}`,
    });
  }
  if (dcp.length > 0) return openDcp(path);
  if (safetensors.length > 0) return openSafetensors(path);
  if (torch.length > 0 && torch.every((name) => RANK_FILE.test(name))) return openRanks(path, torch);
  const [only, second] = torch;
  if (only !== undefined && second === undefined) return openTorchFile(join(path, only));
  if (second !== undefined) {
    throw new InputError("AMBIGUOUS_CHECKPOINT", `${path}: holds ${torch.length} torch files`, {
      file: path,
      expected: "one checkpoint",
      found: torch.slice(0, 4).join(", ") + (torch.length > 4 ? ", …" : ""),
      help: "name the file you mean",
    });
  }
  throw notACheckpoint(path);
}

/** Names of the rank files in the directory of one of them. */
export const rankFilesBeside = (path: string): string[] =>
  readdirSync(dirname(path)).filter((name) => RANK_FILE.test(name));

function list(path: string): Listing {
  const names = readdirSync(path).toSorted();
  return {
    dcp: names.filter((name) => name.endsWith(".distcp") || /^(?:__\d+)?\.metadata$/.test(name)),
    safetensors: names.filter((name) => /\.safetensors(?:\.index\.json)?$/.test(name) && name !== SCALES_NAME),
    torch: names.filter(
      (name) => (/\.(?:pt|pth|ckpt)$/.test(name) && !TRAINER_FILE.test(name)) || name === "pytorch_model.bin",
    ),
  };
}

function notACheckpoint(path: string): InputError {
  const inside = readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(path, entry.name))
    .filter((child) => Object.values(list(child)).some((names: readonly string[]) => names.length > 0))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return new InputError("NOT_A_CHECKPOINT", `${path}: no checkpoint in this directory`, {
    file: path,
    expected: ".metadata with *.distcp, *.safetensors, consolidated.NN.pth, or one .pt, .pth or pytorch_model.bin",
    found: readdirSync(path).slice(0, 5).join(", ") || "an empty directory",
    help:
      inside.length > 0
        ? `there ${inside.length === 1 ? "is one" : `are ${inside.length}`} below it; did you mean ${inside.at(-1)}?`
        : "give the directory that holds the files named above",
  });
}
