// What people give that is no checkpoint: named for what it is, with the next step.
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { f32, readState, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

function refusal(path: string): InputError {
  try {
    openCheckpoint(path).close();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error(`${path} opens`);
}

function place(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = scratch();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** A zip without compression, as far as its names are concerned. */
function zip(names: readonly string[]): Buffer {
  const entries = names.map((name) => {
    const local = Buffer.alloc(30);
    local.write("PK\u0003\u0004", "latin1");
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.write("PK\u0001\u0002", "latin1");
    central.writeUInt16LE(name.length, 28);
    return { local: Buffer.concat([local, Buffer.from(name)]), central: Buffer.concat([central, Buffer.from(name)]) };
  });
  const [data, directory] = [entries.map(({ local }) => local), entries.map(({ central }) => central)].map((parts) =>
    Buffer.concat(parts),
  );
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006", "latin1");
  end.writeUInt16LE(names.length, 8);
  end.writeUInt16LE(names.length, 10);
  end.writeUInt32LE(directory!.length, 12);
  end.writeUInt32LE(data!.length, 16);
  return Buffer.concat([data!, directory!, end]);
}

const POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n";
const TAR = Buffer.concat([Buffer.alloc(257), Buffer.from("ustar"), Buffer.alloc(250)]);

test.each<[string, string, string | Buffer, RegExp, RegExp]>([
  ["a git-lfs pointer", "model.safetensors", POINTER, /git-lfs pointer/, /git lfs pull/],
  ["the same, called a pickle", "pytorch_model.bin", POINTER, /git-lfs pointer/, /git lfs pull/],
  ["GGUF", "model-q4.gguf", "GGUF\u0003\0\0\0aaaaaaaaaaaa", /GGUF/, /gguf_file/],
  ["GGUF under another name", "model.safetensors", "GGUF\u0003\0\0\0aaaaaaaaaaaa", /GGUF/, /original/],
  ["a page", "model.safetensors", "<!DOCTYPE html><html><body>Log in</body></html>", /web page/, /resolve/],
  ["an answer of a storage service", "model.pt", '<?xml version="1.0"?><Error/>', /XML/, /download/],
  ["HDF5", "tf_model.h5", Buffer.from("\u0089HDF\r\n\u001a\nxxxxxxxx", "latin1"), /HDF5/, /safetensors/],
  ["an array", "w.npy", Buffer.from("\u0093NUMPY\u0001\0xxxxxxxxxx", "latin1"), /NumPy/, /save_file/],
  ["arrays", "w.npz", zip(["a.npy", "b.npy"]), /NumPy/, /numpy\.load\(".*w\.npz"\)/],
  ["TorchScript", "model.pt", zip(["m/data.pkl", "m/constants.pkl", "m/code/m.py"]), /TorchScript/, /torch\.jit\.load/],
  ["a program", "model.pt2", zip(["m/archive_format", "m/models/model.json"]), /torch\.export/, /torch\.export\.load/],
  ["a zip", "model.zip", zip(["model/model.safetensors"]), /zip of other files/, /unpack/],
  ["NeMo", "model.nemo", TAR, /NeMo/, /Megatron Bridge/],
  ["a tar", "model.tar", TAR, /packed archive/, /unpack/],
  ["gzip", "model.tar.gz", Buffer.from("1f8b08000000000000ff", "hex"), /packed archive/, /unpack/],
  ["a config", "config.json", '{"model_type": "llama"}', /config, not its weights/, /give the folder/],
  ["another JSON", "tokenizer.json", "{}", /JSON/, /folder/],
  ["ONNX", "model.onnx", "\u0008\u0007onnxxxxxxxxxxxxxx", /ONNX/, /safetensors/],
])("%s", (_, name, content, what, help) => {
  const folder = place({ [name]: content });
  const { code, message, details } = refusal(join(folder, name));
  expect(code).toBe(name === "model.pt" && what.test("TorchScript") ? "TORCH_SCRIPT" : "NOT_A_CHECKPOINT");
  expect(message).toMatch(what);
  expect(details.help).toMatch(help);
});

test("of a sharded model the shard is named, and a sound file of that name keeps its own fault", () => {
  const state = readState(fixture("llama3/split").hf);
  const folder = writeSafetensors(join(scratch(), "model"), state, { maxShardSize: 100_000 });
  writeFileSync(join(folder, "model-00002-of-00003.safetensors"), POINTER);
  expect(refusal(folder).message).toMatch(/model-00002-of-00003\.safetensors: a git-lfs pointer/);
  expect(refusal(join(place({ "x.safetensors": "hello, hello, hello" }), "x.safetensors")).code).toMatch(
    /^SAFETENSORS/,
  );
});

test.each<[string, Readonly<Record<string, string | Buffer>>, string, RegExp, RegExp]>([
  [
    "DeepSpeed's root without its step",
    { latest: "global_step5", "zero_to_fp32.py": "" },
    "UNCONSOLIDATED",
    /DeepSpeed, without a step/,
    /optim_states\.pt/,
  ],
  [
    "tensor parallelism of DeepSpeed",
    { "mp_rank_00_model_states.pt": "x", "mp_rank_01_model_states.pt": "x" },
    "UNCONSOLIDATED",
    /DeepSpeed cut by tensor/,
    /trainer's own script/,
  ],
  [
    "Megatron by ranks",
    { "latest_checkpointed_iteration.txt": "5", "iter_0000005/mp_rank_00/model_optim_rng.pt": "x" },
    "UNCONSOLIDATED",
    /Megatron/,
    /Megatron Bridge/,
  ],
  ["Orbax", { _CHECKPOINT_METADATA: "{}", "manifest.ocdbt": "" }, "NOT_A_CHECKPOINT", /Orbax/, /orbax/],
  ["zarr", { "zarr.json": "{}" }, "NOT_A_CHECKPOINT", /zarr/, /zarr/],
  [
    "an adapter",
    { "adapter_config.json": "{}", "adapter_model.bin": "x" },
    "PEFT_UNMERGED",
    /PEFT/,
    /merge_and_unload/,
  ],
  ["GGUF alone", { "m.Q4_K.gguf": "GGUF", "README.md": "" }, "NOT_A_CHECKPOINT", /m\.Q4_K\.gguf: a GGUF/, /gguf_file/],
  ["Flax alone", { "flax_model.msgpack": "x", "config.json": "{}" }, "NOT_A_CHECKPOINT", /Flax/, /safetensors/],
])("a folder: %s", (_, files, code, what, help) => {
  const error = refusal(place(files));
  expect(error.code).toBe(code);
  expect(error.message).toMatch(what);
  expect(error.details.help).toMatch(help);
});

test("a damaged partition of DeepSpeed is told as such, by the path of the file and in its step", () => {
  const folder = place({ "zero_pp_rank_0_mp_rank_00_optim_states.pt": "x" });
  expect(refusal(join(folder, "zero_pp_rank_0_mp_rank_00_optim_states.pt"))).toMatchObject({ code: "TORCH_FORMAT" });
  expect(refusal(folder)).toMatchObject({ code: "TORCH_FORMAT" });
});

test("did you mean: two levels down, and what holds a model before what comes last", () => {
  const run = scratch();
  const { native } = fixture("llama3/split");
  for (const step of [9, 10]) {
    writeDcp(join(run, `step${step}`, "model_and_optim"), readState(native));
    writeDcp(join(run, `step${step}`, "train"), new Map([["optim.step", f32([2], (i) => i)]]));
  }
  expect(refusal(join(run, "step9")).details.help).toContain(join("step9", "model_and_optim"));
  expect(refusal(run).details.help).toContain(join("step10", "model_and_optim"));
});

test("did you mean: the step that the run's tracker names, and of its models the one that is trained for use", () => {
  const run = scratch();
  const { native } = fixture("llama3/split");
  for (const step of [5, 40])
    for (const model of ["actor", "critic"]) writeDcp(join(run, `global_step_${step}`, model), readState(native));
  const meant = (tracker: string) => {
    writeFileSync(join(run, "latest_checkpointed_iteration.txt"), tracker);
    return refusal(run);
  };
  expect(meant("5")).toMatchObject({ code: "NOT_A_CHECKPOINT" });
  expect(meant("5").details.help).toContain(join("global_step_5", "actor?"));
  expect(meant("41").details.help).toContain(join("global_step_40", "actor?"));
  expect(refusal(join(run, "global_step_5")).details.help).toContain("actor?");
});

test("did you mean: the Hub's cache by the revision that is its main, and its top", () => {
  const cache = scratch();
  const model = join(cache, "models--owner--name");
  const state = new Map([["w", f32([2], (i) => i)]]);
  for (const revision of ["aaa", "bbb"]) writeSafetensors(join(model, "snapshots", revision), state);
  mkdirSync(join(model, "refs"));
  writeFileSync(join(model, "refs", "main"), "aaa");
  mkdirSync(join(model, "blobs"));
  symlinkSync(join(model, "snapshots", "aaa", "model.safetensors"), join(model, "blobs", "x"));
  expect(refusal(model).details.help).toContain(join("snapshots", "aaa"));
  expect(refusal(cache).details.help).toContain(join("snapshots", "bbb"));
});
