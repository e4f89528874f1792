// What a run reads, noted where files are opened: no command can forget one.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { wholePath } from "./addresses.ts";

/** A file that a run read. */
export class SeenFile {
  /** Whether it stayed open when headers were read: then tensors are in it. */
  isTensors = false;
  /** Of any kind; what is read twice counts twice. */
  readBytes = 0;
  /** Without headers. */
  contentBytes = 0;
  /** Whether it was another file when it was opened again. */
  hasChanged = false;
  sha256: string | null = null;
  /** The commit that it is of, where it lies in a repository. */
  commit: string | null = null;

  constructor(
    private readonly witness: Witness,
    readonly path: string,
    readonly bytes: number,
    /** Of size and time, and the inode where that is kept; null for what was read at once. */
    readonly version: string | null,
  ) {}

  covers(byteLength: number): void {
    this.readBytes += byteLength;
    if (this.witness.isAtHeaders) return;
    this.contentBytes += byteLength;
    this.witness.sawContent(this);
  }
}

/** A config that a checkpoint was read by. */
export interface SeenConfig {
  /** Path of the checkpoint, as the user gave it. */
  readonly of: string;
  readonly path: string;
  readonly sha256: string;
  /** The hash of its mathematics; null where no family reads it. */
  mathematics: (() => string | null) | null;
}

export class Witness {
  readonly files = new Map<string, SeenFile>();
  readonly configs: SeenConfig[] = [];
  /** Files that are open, with how often. */
  private readonly open = new Map<SeenFile, number>();
  private atHeaders = 0;

  /** @param sawContent told of each read of anything but headers */
  constructor(readonly sawContent: (file: SeenFile) => void = () => {}) {}

  get isAtHeaders(): boolean {
    return this.atHeaders > 0;
  }

  /** A file that is opened. */
  opens(path: string, bytes: number, version: string): SeenFile {
    const file = this.noted(path, bytes, version);
    if (file.version !== version) file.hasChanged = true;
    this.open.set(file, (this.open.get(file) ?? 0) + 1);
    return file;
  }

  /** A file that another thread of the run has opened, which tells what it read of it. */
  elsewhere(path: string, bytes: number, version: string): SeenFile {
    const file = this.noted(path, bytes, version);
    if (file.version !== version) file.hasChanged = true;
    return file;
  }

  closes(file: SeenFile): void {
    const times = this.open.get(file) ?? 0;
    if (times > 1) this.open.set(file, times - 1);
    else this.open.delete(file);
  }

  /** A file whose content was read at once, a pipe perhaps. */
  took(path: string, content: Uint8Array): void {
    const file = this.noted(path, content.length, null);
    const sha256 = createHash("sha256").update(content).digest("hex");
    file.hasChanged ||= file.sha256 !== null && file.sha256 !== sha256;
    file.sha256 = sha256;
    file.covers(content.length);
  }

  /** @param mathematics the hash of what it makes the model compute, once a family has read it */
  config(
    of: string,
    { path, text }: { path: string; text: string },
    mathematics: SeenConfig["mathematics"] = null,
  ): void {
    const sha256 = createHash("sha256").update(text, "utf8").digest("hex");
    const known = this.configs.find((each) => each.of === of && each.path === path && each.sha256 === sha256);
    if (known === undefined) this.configs.push({ of, path, sha256, mathematics });
    else known.mathematics ??= mathematics;
  }

  private noted(path: string, bytes: number, version: string | null): SeenFile {
    const whole = wholePath(path);
    const file = this.files.get(whole) ?? new SeenFile(this, whole, bytes, version);
    this.files.set(whole, file);
    return file;
  }

  /** Reads no more than where tensors lie; files that stay open are those that hold them. */
  headers<T>(read: () => T): T {
    this.atHeaders += 1;
    try {
      return read();
    } finally {
      this.atHeaders -= 1;
      for (const file of this.open.keys()) file.isTensors = true;
    }
  }
}

const ambient = new AsyncLocalStorage<Witness>();

/** Of the run that this call belongs to. */
export const witness = (): Witness | undefined => ambient.getStore();

export const witnessed = <T>(by: Witness, run: () => T): T => ambient.run(by, run);

/** `read` takes no more than headers. */
export function headersOnly<T>(read: () => T): T {
  const by = witness();
  return by === undefined ? read() : by.headers(read);
}
