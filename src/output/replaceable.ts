// Whether what stands at a target is recognisably a checkpoint: the only thing that `--force` may replace. A name alone
// is not enough for weights, as `.pt` and `.bin` are names of other things, too.
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { isCompanion, isConfigName, RECORD_NAME, TRAINER_FILE } from "../formats/file-names.ts";
import { DiskFolder } from "../formats/io/disk-folder.ts";
import { type OutputFile, partsWithin } from "../formats/output.ts";
import { beginsSafetensors, beginsTorch, headOf } from "../formats/sniff.ts";

/** What would go with a file or folder. */
export interface Contents {
  /** Files by their path in the folder, weights first; of a file, its own name. */
  readonly files: readonly string[];
  readonly bytes: number;
  /** Entries of the folder that are, or hold, what is no part of a checkpoint; folders end in a slash. */
  readonly foreign: readonly string[];
  /** Whether there are weights or our record among the files. */
  readonly isCheckpoint: boolean;
}

const TORCH_FILE = /\.(?:pt|pth|ckpt)$|^pytorch_model(?:\.[^.]+)?(?:-\d+-of-\d+)?\.bin$/;
const INDEX_FILE = /\.safetensors\.index(?:\.[^.]+)?\.json$|^pytorch_model\.bin\.index(?:\.[^.]+)?\.json$/;
const DCP_METADATA = /^(?:__\d+)?\.metadata$/;

/**
 * Looks at names, at the first bytes of weights, and whether other files are copied there again.
 * Throws what the file system throws.
 */
export function contentsOf(path: string, writes: readonly OutputFile[] = []): Contents {
  const stats = fs.lstatSync(path);
  const name = basename(path);
  if (!stats.isDirectory()) {
    const isWeights = isWeightsFile(path, stats);
    return { files: [name], bytes: stats.size, foreign: isWeights ? [] : [name], isCheckpoint: isWeights };
  }
  const found = new Found(writes);
  const foreign: string[] = [];
  for (const entry of sortedEntries(path)) {
    if (!found.take(path, entry.name)) foreign.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
  }
  const { weights, others, bytes } = found;
  return { files: [...weights, ...others], bytes, foreign, isCheckpoint: weights.length > 0 || found.hasRecord };
}

const sortedEntries = (folder: string): fs.Dirent[] =>
  fs.readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));

/** Collects the files of a folder that are parts of a checkpoint. */
class Found {
  readonly weights: string[] = [];
  readonly others: string[] = [];
  hasRecord = false;
  bytes = 0;

  constructor(private readonly writes: readonly OutputFile[]) {}

  /**
   * Takes the entry `name` of `folder`, with all that it holds. Returns false, at the first file that is no part of a
   * checkpoint, at an empty folder and at one that another file system is mounted on.
   */
  take(folder: string, name: string): boolean {
    const path = join(folder, name);
    const stats = fs.lstatSync(path);
    if (stats.isDirectory()) {
      const inside = fs.readdirSync(path);
      const isMount = stats.dev !== fs.lstatSync(folder).dev;
      return inside.length > 0 && !isMount && inside.toSorted().every((child) => this.take(folder, join(name, child)));
    }
    const file = basename(name);
    const isWeights = file.endsWith(".distcp") ? endsInFile(path, stats) : isWeightsFile(path, stats);
    const isOther =
      isConfigName(file) ||
      isCompanion(file) ||
      isCompanion(name) ||
      INDEX_FILE.test(file) ||
      DCP_METADATA.test(file) ||
      file === RECORD_NAME;
    if (!isWeights && !(endsInFile(path, stats) && (isOther || this.isWrittenAgain(path, name)))) return false;
    (isWeights ? this.weights : this.others).push(name);
    this.hasRecord ||= file === RECORD_NAME;
    this.bytes += stats.size;
    return true;
  }

  /** A licence or a README may be the user's own: it may go only where the same is copied there again. */
  private isWrittenAgain(path: string, name: string): boolean {
    const file = this.writes.find((each) => each.name === name && each.copyOf !== undefined);
    if (file === undefined || fs.statSync(path).size !== file.byteLength) return false;
    const bytes = fs.readFileSync(path);
    const chunk = Buffer.alloc(Math.min(COMPARE_BYTES, bytes.length));
    return [...partsWithin(file)].every(({ part, begin, end }) => {
      if (part.kind !== "copy") return false;
      for (let at = begin; at < end; at += chunk.length) {
        const own = chunk.subarray(0, Math.min(chunk.length, end - at));
        part.read(at - begin, own);
        if (!own.equals(bytes.subarray(at, at + own.length))) return false;
      }
      return true;
    });
  }
}

const COMPARE_BYTES = 1 << 20;

/** A regular file, or a link to one. */
const endsInFile = (path: string, stats: fs.Stats): boolean =>
  stats.isFile() || (stats.isSymbolicLink() && fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true);

/** A file of weights by its name and its first bytes; a `.distcp` has no first bytes of its own. */
function isWeightsFile(path: string, stats: fs.Stats): boolean {
  const name = basename(path);
  const isSafetensors = name.endsWith(".safetensors");
  if (!isSafetensors && (!TORCH_FILE.test(name) || TRAINER_FILE.test(name))) return false;
  if (!endsInFile(path, stats)) return false;
  const head = headOf(new DiskFolder(dirname(path)), name);
  if (!isSafetensors) return beginsTorch(head);
  return beginsSafetensors(head) && 8 + head.readUInt32LE(0) <= fs.statSync(path).size;
}
