// A file as the Blob that the Hub's client wants: read by position, a part at a time, however often it asks.
import { createHash, type Hash } from "node:crypto";
import type { SourceFile } from "../../formats/io/folder.ts";

/** Read at once. A read blocks the thread: a larger one would hold up what other requests send. */
const PART_BYTES = 1 << 19;

/** What all slices of a file share. */
interface Shared {
  readonly file: SourceFile;
  /** Told of the bytes of each stream as they are taken. */
  readonly onRead: (bytes: number) => void;
  /** The fault that ended a stream: `fetch` hides it behind one of its own. */
  fault: unknown;
  onFault: (fault: unknown) => void;
}

/** The client's own blob of a file looks neither at changes nor at what goes wrong. */
export class SourceBlob extends Blob {
  override readonly size: number;

  private constructor(
    private readonly shared: Shared,
    private readonly begin: number,
    private readonly end: number,
  ) {
    super([]);
    this.size = end - begin;
  }

  static of(file: SourceFile, onRead: Shared["onRead"] = () => {}): SourceBlob {
    return new SourceBlob({ file, onRead, fault: null, onFault: () => {} }, 0, file.byteLength);
  }

  get fault(): unknown {
    return this.shared.fault;
  }

  /** Called where a read fails, of any slice. */
  set onFault(told: (fault: unknown) => void) {
    this.shared.onFault = told;
  }

  override slice(start = 0, end = this.size): SourceBlob {
    const at = (offset: number) => (offset < 0 ? Math.max(0, this.size + offset) : Math.min(offset, this.size));
    return new SourceBlob(this.shared, this.begin + at(start), this.begin + Math.max(at(start), at(end)));
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = new ArrayBuffer(this.size);
    this.read(this.begin, new Uint8Array(bytes));
    return bytes;
  }

  override async text(): Promise<string> {
    return new TextDecoder().decode(await this.arrayBuffer());
  }

  override stream(): ReturnType<Blob["stream"]> {
    let at = this.begin;
    return new ReadableStream(
      {
        pull: (controller) => {
          const part = new Uint8Array(Math.min(PART_BYTES, this.end - at));
          if (part.length > 0) {
            this.read(at, part);
            at += part.length;
            this.shared.onRead(part.length);
            controller.enqueue(part);
          }
          if (at === this.end) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Of the whole content, once the signal lets it: hashing takes some seconds a gigabyte. */
  async hash(kind: "sha1" | "sha256", begin = "", signal?: AbortSignal): Promise<string> {
    const hash: Hash = createHash(kind).update(begin);
    for await (const part of this.stream()) {
      hash.update(part);
      signal?.throwIfAborted();
    }
    this.check();
    return hash.digest("hex");
  }

  /** Throws InputError FILE_CHANGED where the file is no longer the one that was opened. */
  check(): void {
    try {
      this.shared.file.check();
    } catch (error) {
      this.shared.fault ??= error;
      throw error;
    }
  }

  private read(position: number, target: Uint8Array): void {
    try {
      this.shared.file.read(position, target);
    } catch (error) {
      this.shared.fault ??= error;
      this.shared.onFault(error);
      throw error;
    }
  }
}
