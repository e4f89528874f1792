// The tensors of one pickled object, as views of its storages.
import { bitsOf, byteLengthOf } from "../../base/dtype.ts";
import type { TensorInfo } from "../checkpoint.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { PickleObject } from "../pickle/value.ts";
import { ChunkedTensor } from "../torch/chunked-tensor.ts";
import { type StorageRef, type TensorView, tensorView } from "../torch/rebuild.ts";
import type { StoredRecord } from "../zip/stored-record.ts";

export type OpenStorage = (ref: StorageRef, where: Where) => StoredRecord;

export class StoredTensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  private readonly data = new Map<string, ChunkedTensor>();
  /** One record per storage, however many tensors share it. */
  private readonly records = new Map<string, StoredRecord>();
  private readonly recordOf = new Map<string, StoredRecord>();

  /** @throws InputError for a tensor that is not plain, or does not lie inside its storage */
  constructor(
    private readonly file: string,
    objects: ReadonlyMap<string, PickleObject>,
    private readonly openStorage: OpenStorage,
  ) {
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
    const width = bitsOf(view.dtype) / 8;
    const record = this.storage(view.storage, where);
    this.recordOf.set(where.tensor ?? "", record);
    const shift = (view.storage.viewOf?.offset ?? 0) / width;
    if (!Number.isInteger(shift)) throw refuse(where, "STORAGE_ALIGNMENT", "its storage begins inside an element");
    const strided = { record, offset: view.offset + shift, strides: view.strides };
    const chunk = { offsets: view.shape.map(() => 0), sizes: view.shape, open: () => strided };
    return new ChunkedTensor(view.shape, width, [chunk]);
  }

  private storage(ref: StorageRef, where: Where): StoredRecord {
    const open = this.records.get(ref.key);
    if (open !== undefined && open.byteLength === ref.byteLength) return open;
    const record = this.openStorage(ref, where);
    this.records.set(ref.key, record);
    return record;
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
    return [...this.records.values()].every(({ hasChecksum }) => hasChecksum);
  }

  /** Reads what was not read yet. Throws InputError where the data do not match their CRC-32. */
  verify(key: string): void {
    this.recordOf.get(key)?.verify();
  }
}
