// The tensors of one pickled object, as views of its storages.
import { bitsOf, byteLengthOf } from "../../base/dtype.ts";
import type { TensorInfo } from "../checkpoint.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { PickleObject } from "../pickle/value.ts";
import { ChunkedTensor } from "../torch/chunked-tensor.ts";
import { type StorageRef, type TensorView, tensorView } from "../torch/rebuild.ts";
import type { StridedRecord } from "../torch/strided.ts";
import type { StoredRecord } from "../zip/stored-record.ts";

export type OpenStorage = (ref: StorageRef, where: Where) => StoredRecord;

/** The storages of one file: a record each, however many tensors share it. */
export class Storages {
  private readonly records = new Map<string, StoredRecord>();

  constructor(private readonly openStorage: OpenStorage) {}

  /** The elements of a view. @throws InputError for a storage that is missing, of another size, or begins inside an element */
  view({ dtype, storage, offset, strides }: TensorView, where: Where): StridedRecord {
    const record = this.record(storage, where);
    const shift = (storage.viewOf?.offset ?? 0) / (bitsOf(dtype) / 8);
    if (!Number.isInteger(shift)) throw refuse(where, "STORAGE_ALIGNMENT", "its storage begins inside an element");
    return { record, offset: offset + shift, strides };
  }

  private record(ref: StorageRef, where: Where): StoredRecord {
    const open = this.records.get(ref.key);
    if (open !== undefined && open.byteLength === ref.byteLength) return open;
    const record = this.openStorage(ref, where);
    this.records.set(ref.key, record);
    return record;
  }

  /** Whether all data have a CRC-32. */
  get hasChecksums(): boolean {
    return [...this.records.values()].every(({ hasChecksum }) => hasChecksum);
  }
}

export class StoredTensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  private readonly data = new Map<string, ChunkedTensor>();
  private readonly storages: Storages;
  private readonly recordOf = new Map<string, StoredRecord>();

  /** @throws InputError for a tensor that is not plain, or does not lie inside its storage */
  constructor(
    private readonly file: string,
    objects: ReadonlyMap<string, PickleObject>,
    openStorage: OpenStorage,
  ) {
    this.storages = new Storages(openStorage);
    const tensors = new Map<string, TensorInfo>();
    for (const [key, object] of objects) {
      const where: Where = { file, tensor: key };
      const view = tensorView(object, where);
      const { dtype, shape } = view;
      tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
      this.data.set(key, this.tensorOf(view, where));
    }
    this.tensors = tensors;
  }

  private tensorOf(view: TensorView, where: Where): ChunkedTensor {
    const strided = this.storages.view(view, where);
    this.recordOf.set(where.tensor ?? "", strided.record);
    const chunk = { offsets: view.shape.map(() => 0), sizes: view.shape, open: () => strided };
    return new ChunkedTensor(view.shape, bitsOf(view.dtype) / 8, [chunk]);
  }

  read(key: string, begin: number, target: Uint8Array): void {
    const info = this.tensors.get(key);
    const tensor = this.data.get(key);
    if (info === undefined || tensor === undefined) throw new Error(`${this.file} has no tensor ${key}`);
    if (begin < 0 || begin + target.length > info.byteLength) throw new Error(`a read beyond the end of ${key}`);
    tensor.read(begin, target);
  }

  /** Whether all data have a CRC-32. */
  get hasChecksums(): boolean {
    return this.storages.hasChecksums;
  }

  /** Reads what was not read yet. Throws InputError where the data do not match their CRC-32. */
  verify(key: string): void {
    this.recordOf.get(key)?.verify();
  }
}
