// A step of DeepSpeed as one checkpoint: f32 weights out of the optimizer's partitions, as zero_to_fp32 puts them together, and
// what is not partitioned out of the model's states. Nothing of DeepSpeed or torch is needed.
import { byteLengthOf, type Dtype, elementCount } from "../../base/dtype.ts";
import type { Checkpoint, OtherEntry, TensorInfo } from "../checkpoint.ts";
import { type Folder, OpenFiles } from "../io/folder.ts";
import { refuse } from "../io/refuse.ts";
import { kindOf, PickleDict } from "../pickle/value.ts";
import { readTorchObject } from "../pt/object.ts";
import { NO_CHECKSUMS } from "../zip/reader.ts";
import { fromPartitions, fromReplicas, type JoinedTensor } from "./joined.ts";
import type { StepFiles } from "./names.ts";
import { type Partitioned, partitioned, type Run } from "./partitions.ts";
import { modelRanks, optimizerRanks } from "./ranks.ts";
import { agreeing, canAgree, widened } from "./sixteen-bits.ts";
import { type FileTensor, type ModelStates, type OptimizerStates, READ, type StateFile } from "./states.ts";

/**
 * Reads the pickles of all ranks, no data.
 * @param path as the user gave it
 * @param companions where config and tokenizer lie, if not in the folder
 * @throws InputError RANK_MISSING, RANK_FOREIGN, PARTITION_MISSING, PARTITION_SIZE, PARTITION_DIFFERS, DEEPSPEED_STATE
 */
export function openDeepspeed(step: StepFiles, path: string, companions?: Folder): Checkpoint {
  const { folder } = step;
  const opened = new OpenFiles(folder);
  const read = (name: string): StateFile => {
    const where = { file: folder.pathOf(name) };
    return { name, where, object: readTorchObject(opened.open(name), where) };
  };
  folder.expect?.([...step.model.values(), ...step.optimizer.values()]);
  try {
    const optimizer = optimizerRanks(step, read);
    const models = modelRanks(step, optimizer[0], read);
    const checkpoint = checkpointOf(step, path, new Join(models, optimizer), opened);
    return companions === undefined ? checkpoint : { ...checkpoint, companions };
  } catch (error) {
    opened.close();
    throw error;
  }
}

type Ranks<T> = readonly [T, ...T[]];

/** Every tensor of the step by its name, and what is none of the model's. */
class Join {
  readonly tensors = new Map<string, JoinedTensor>();
  readonly paths = new Map<string, readonly string[]>();
  readonly notes: readonly string[];
  readonly others: readonly OtherEntry[];
  private readonly parameters: ReadonlyMap<string, Partitioned>;
  private readonly frozen: ReadonlyMap<string, JoinedTensor>;
  private readonly masters: Dtype;
  /** Weights that are compared with the model's. */
  private compared = 0;

  constructor(
    private readonly models: Ranks<ModelStates>,
    private readonly optimizer: Ranks<OptimizerStates>,
  ) {
    const [model] = models;
    const [{ masters }] = optimizer;
    this.masters = masters[0]?.dtype ?? "F32";
    this.parameters = new Map(partitioned(model.shapes, optimizer).map((each) => [each.name, each]));
    this.frozen = frozenOf(models);
    const shared = new Map(model.shared);
    const names = [...model.module.keys(), ...this.parameters.keys(), ...this.frozen.keys(), ...shared.keys()];
    let unwidened = 0;
    for (const name of new Set(names)) {
      const tensor = this.tensor(name, shared.get(name));
      const own = this.masters === "F32" ? widened(tensor) : tensor;
      if (own !== tensor) unwidened += 1;
      this.add([name], own);
    }
    for (const parameter of this.parameters.values()) this.addMoments(parameter);
    this.others = restOf(model, optimizer[0]);
    this.notes = [
      `${this.masters} weights joined from the optimizer's partitions of ${optimizer.length} ranks (DeepSpeed ZeRO-${optimizer[0].stage}); ${
        this.compared === 0
          ? "not checked: whether they are the model's, of which ZeRO-3 keeps no copy"
          : "each is compared with the model's own as it is read"
      }`,
      ...(unwidened === 0
        ? []
        : [
            `${unwidened} frozen tensors and buffers were saved in 16 bits, and are widened to F32, which keeps every value`,
          ]),
    ];
  }

  private add(path: readonly string[], tensor: JoinedTensor): void {
    const key = path.join(".");
    this.tensors.set(key, tensor);
    this.paths.set(key, path);
  }

  /** @param of the name that a shared tensor is stored under */
  private tensor(name: string, of: string | undefined): JoinedTensor {
    const parameter = this.parameters.get(name) ?? this.parameters.get(of ?? name);
    if (parameter !== undefined) return this.master(parameter);
    const frozen = this.frozen.get(name) ?? this.frozen.get(of ?? name);
    if (frozen !== undefined) return frozen;
    const holders = this.models.flatMap(({ module }) => module.get(name) ?? module.get(of ?? name) ?? []);
    const [first, ...rest] = holders;
    if (first !== undefined && !this.isEmptied(name, first)) return fromReplicas(name, [first, ...rest]);
    const [{ file }] = this.models;
    throw refuse({ file: file.where.file, tensor: name }, "PARTITION_MISSING", "no rank holds a part of it", {
      expected: "a parameter of the optimizer, a frozen one, or a whole tensor",
      found: first === undefined ? "nothing" : "an empty tensor",
      help: "copy the folder of the step again; of a save without frozen parameters, take these from the base model",
    });
  }

  private master(parameter: Partitioned): JoinedTensor {
    const { name, shape } = parameter;
    const own = fromPartitions(parameter, this.masters, (run) => this.optimizer[run.rank]!.masters[run.group]!);
    const model = this.models.length === 1 ? this.models[0].module.get(name) : undefined;
    if (model === undefined || `${model.shape}` !== `${shape}` || !canAgree(this.masters, model)) return own;
    this.compared += 1;
    return agreeing(name, own, model);
  }

  /** What ZeRO-3 leaves of a parameter. */
  private isEmptied(name: string, { shape }: FileTensor): boolean {
    return this.models.length > 1 && elementCount(shape) === 0 && !this.models[0].buffers.has(name);
  }

  /** What the optimizer keeps lies as the weights do; under the names that torch.distributed.checkpoint gives it. */
  private addMoments(parameter: Partitioned): void {
    const { name, group } = parameter;
    for (const [moment, { dtype, shape }] of this.optimizer[0].moments[group] ?? []) {
      const of = (run: Run): FileTensor | undefined => this.optimizer[run.rank]!.moments[run.group]?.get(moment);
      const parts = [...parameter.runs(0, elementCount(parameter.shape), 1)].map(of);
      const [first, ...rest] = this.optimizer.flatMap(({ moments }) => moments[group]?.get(moment) ?? []);
      if (parts.some((part) => part?.dtype !== dtype) || first === undefined) continue;
      const path = ["optimizer", "state", name, moment];
      if (shape.length > 0)
        this.add(
          path,
          fromPartitions(parameter, dtype, (run) => of(run)!),
        );
      else this.add(path, fromReplicas(path.join("."), [first, ...rest]));
    }
  }
}

/** Whole in the one file of ZeRO-1 and 2; under ZeRO-3 an equal share in each rank's. */
function frozenOf(models: Ranks<ModelStates>): ReadonlyMap<string, JoinedTensor> {
  const [{ frozen, frozenShapes, file }] = models;
  const found = new Map<string, JoinedTensor>();
  for (const [name, shape] of frozenShapes) {
    const parts = models.map((model) => model.frozen.get(name));
    const count = elementCount(shape);
    const share = Math.ceil(count / models.length);
    const sizes = parts.map((part) => (part === undefined ? 0 : elementCount(part.shape)));
    const isWhole = models.length === 1 && `${parts[0]?.shape}` === `${shape}`;
    if (!isWhole && !(models.length > 1 && sizes.every((size) => size === share)))
      throw refuse(
        { file: file.where.file, tensor: name },
        "PARTITION_SIZE",
        "the parts of this frozen parameter do not make it up",
        {
          expected: `${share} elements in each of ${models.length} files`,
          found: `${sizes}`,
          help: "copy the folder of the step again",
        },
      );
    const whole = frozen.get(name)!;
    found.set(
      name,
      isWhole
        ? fromReplicas(name, [whole])
        : fromPartitions(sharesOf(name, shape, share), whole.dtype, ({ rank }) => parts[rank]!),
    );
  }
  return found;
}

const sharesOf = (name: string, shape: readonly number[], share: number): Partitioned => ({
  name,
  shape,
  group: 0,
  *runs(begin, end, unit) {
    for (let done = begin; done < end; ) {
      const rank = Math.floor(done / (share * unit));
      const last = Math.min(end, (rank + 1) * share * unit);
      yield { rank, group: 0, from: done - rank * share * unit, count: last - done };
      done = last;
    }
  },
});

/** What is in the files beside what was joined, of rank 0. */
function restOf({ extras, file: { object } }: ModelStates, { file }: OptimizerStates): OtherEntry[] {
  const { tensors, others, paths } = object.flat;
  const isRest = (key: string): boolean => !READ.has(String(paths.get(key)?.[0]));
  const { value } = file.object;
  const ofOptimizer = value instanceof PickleDict ? [...value.entries()] : [];
  const entries = [
    ...extras.map((key) => ({ key: `module.${key}`, kind: "module state" })),
    ...[...tensors.keys()].filter(isRest).map((key) => ({ key, kind: "tensor", tensor: BESIDE })),
    ...others.filter(({ key }) => isRest(key)),
    ...ofOptimizer.map(([key, entry]) => ({ key: String(key), kind: kindOf(entry) })),
  ];
  return [...new Map(entries.map((entry) => [entry.key, entry])).values()];
}

const BESIDE = "a tensor that the trainer keeps beside the model";

function checkpointOf(
  { folder, model, optimizer }: StepFiles,
  path: string,
  join: Join,
  opened: OpenFiles,
): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  for (const [key, { dtype, shape }] of join.tensors)
    tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
  const tensorOf = (key: string): JoinedTensor => {
    const tensor = join.tensors.get(key);
    if (tensor === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} in ${path}`);
    return tensor;
  };
  return {
    path,
    folder,
    files: [...model.values(), ...optimizer.values()],
    format: "pt",
    tensors,
    others: join.others,
    paths: join.paths,
    savedBy: optimizer.size,
    notes: join.notes,
    read(key, begin, target) {
      if (begin < 0 || begin + target.length > (tensors.get(key)?.byteLength ?? 0))
        throw new RangeError(`a read beyond the end of ${key}`);
      tensorOf(key).read(begin, target);
    },
    verify(keys = tensors.keys()) {
      const records = new Set([...keys].flatMap((key) => [...tensorOf(key).records()]));
      for (const record of records) record.verify();
      opened.check();
    },
    notChecked: () =>
      [...join.tensors.values()].every(({ records }) => [...records()].every(({ hasChecksum }) => hasChecksum))
        ? null
        : NO_CHECKSUMS,
    close: () => opened.close(),
  };
}
