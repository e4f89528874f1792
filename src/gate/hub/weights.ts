// Whether the files of weights are as the Hub and transformers expect them.

import type { Check } from "../../base/check.ts";
import { torchName } from "../../base/dtype.ts";
import { isJsonObject, parseJson } from "../../base/json.ts";
import { commonFloat } from "../../convert/companions.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { Model } from "../../model/model.ts";
import { count, failed, notChecked, passed, some } from "../block.ts";
import { filesIn } from "./files.ts";

/** `model-00001-of-00004.safetensors` */
const SHARD = /^model-(\d{5,})-of-(\d{5,})\.safetensors$/;
/** What `from_pretrained` opens without being told. */
const OWN_NAME = /^(?:model(?:-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;
/** Weights in a format that runs code when it is loaded. What a trainer keeps beside them is another matter. */
const PICKLED =
  /^(?:pytorch_model(?:-\d+-of-\d+)?\.bin|adapter_model\.bin|consolidated(?:\.\d+)?\.pth|model.*\.(?:pt|pth|ckpt|pkl|bin)|.*\.ckpt)$/;
/** The Hub takes no larger file: 50 GB, in its documentation of storage limits. */
const LARGEST_FILE = 50e9;

export const weightFileChecks = ({ checkpoint, source, family, stored }: Model): Check[] => [
  index(checkpoint),
  shardNames(checkpoint),
  pickles(checkpoint),
  sizes(checkpoint),
  declaredType(commonFloat([...source.tensors.values()].map(({ dtype }) => dtype)), family.dtype, stored.config.name),
];

/** Which tensors lie in which file, opening has compared: what it leaves are sums, and files that nobody reads. */
function index({ folder, files, safetensors, tensors }: Checkpoint): Check {
  const name = "the index tells of every file of weights";
  const beside = filesIn(folder).filter((file) => OWN_NAME.test(file) && !files.includes(file));
  if (beside.length > 0) {
    return failed(name, `${beside.join(", ")}: not part of what is read here, and transformers may load it; remove it`);
  }
  const text = safetensors?.index?.text;
  if (text === undefined) return passed(name, `${count(files.length, "file")}, no index needed`);
  const said = totalSize(text);
  const bytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (said !== null && said !== bytes) {
    return failed(name, `metadata.total_size is ${said}, and the tensors have ${bytes} bytes`);
  }
  return passed(name, `${count(tensors.size, "tensor")} in ${count(safetensors?.files.length ?? 0, "file")}`);
}

function totalSize(text: string): number | null {
  const json = parseJson(text);
  const metadata = isJsonObject(json) ? json.metadata : undefined;
  const size = isJsonObject(metadata) ? metadata.total_size : undefined;
  return typeof size === "number" ? size : null;
}

function shardNames({ safetensors }: Checkpoint): Check {
  const name = "shards are named and numbered as huggingface_hub does";
  const names = safetensors?.files.map((file) => file.name) ?? [];
  const [first] = names;
  if (first === undefined) return notChecked(name, "the weights are no safetensors");
  if (names.length === 1 && first === "model.safetensors") return passed(name, first);
  const shards = names.map((file) => SHARD.exec(file));
  if (shards.some((shard) => shard === null)) {
    return notChecked(name, `${some(names)}: names of their own, which are found by the index alone`);
  }
  const totals = new Set(shards.map((shard) => Number(shard?.[2])));
  const numbers = shards.map((shard) => Number(shard?.[1])).toSorted((x, y) => x - y);
  const isWhole = totals.size === 1 && totals.has(names.length) && numbers.every((n, i) => n === i + 1);
  return isWhole ? passed(name, `${first} …`) : failed(name, `${some(names, 6)}: not 1 to ${[...totals].join(" or ")}`);
}

function pickles({ folder }: Checkpoint): Check {
  const name = "no pickled weights";
  const found = filesIn(folder).filter((file) => PICKLED.test(file));
  return found.length === 0
    ? passed(name)
    : failed(name, `${some(found)}: loading a pickle runs what it says; convert to safetensors, and leave these out`);
}

function sizes({ folder, files }: Checkpoint): Check {
  const name = "no file is larger than the Hub takes";
  const large = files.filter((file) => {
    const opened = folder.open(file);
    opened.close();
    return opened.byteLength > LARGEST_FILE;
  });
  return large.length === 0
    ? passed(name, "50 GB each")
    : failed(name, `${some(large)}: convert with --max-shard-size 5GB`);
}

function declaredType(dtype: Parameters<typeof torchName>[0] | null, declared: string | null, file: string): Check {
  const name = "the config declares the type that the weights have";
  if (dtype === null) return notChecked(name, "the weights have several floating-point types");
  const own = torchName(dtype);
  if (declared === null) return notChecked(name, `${file} has no dtype, the weights are ${own}`);
  return declared === own
    ? passed(name, declared)
    : failed(
        name,
        `${file} says ${declared}, the weights are ${own}: transformers rounds them to ${declared} as it loads`,
      );
}
