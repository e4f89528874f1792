/** Bytes that can be read by position. */
export interface ByteSource {
  /** For error messages. */
  readonly name: string;
  readonly byteLength: number;
  /** Where it begins in the file of that name; undefined where there is no such file. */
  readonly at?: number;
  /**
   * Fills `target` with the bytes from `position`. Throws InputError where the file no longer has them.
   * @param until where the reads of which this is one will end, if they go on: a source that is far away fetches ahead
   */
  read(position: number, target: Uint8Array, until?: number): void;
}

/** A part of a source, with positions of its own. */
export function subSource(source: ByteSource, begin: number, byteLength: number): ByteSource {
  const read = (position: number, target: Uint8Array, until = byteLength): void =>
    source.read(begin + position, target, begin + until);
  return { name: source.name, byteLength, ...placedAt(source, begin), read };
}

const placedAt = ({ at }: ByteSource, begin: number): Pick<ByteSource, "at"> =>
  at === undefined ? {} : { at: at + begin };

/**
 * Calls `use` with a source whose first and last `byteLength` bytes are read once, however often they are asked for.
 * What `use` keeps of it reads from `source` again.
 */
export function withBufferedEnds<T>(source: ByteSource, byteLength: number, use: (buffered: ByteSource) => T): T {
  const length = Math.min(byteLength, source.byteLength);
  const tailBegin = source.byteLength - length;
  let ends: { head: Uint8Array; tail: Uint8Array } | undefined = {
    head: readBytes(source, 0, length),
    tail: readBytes(source, tailBegin, length),
  };
  const read = (position: number, target: Uint8Array): void => {
    const end = position + target.length;
    if (ends !== undefined && end <= length) target.set(ends.head.subarray(position, end));
    else if (ends !== undefined && position >= tailBegin) {
      target.set(ends.tail.subarray(position - tailBegin, end - tailBegin));
    } else source.read(position, target);
  };
  const result = use({ name: source.name, byteLength: source.byteLength, ...placedAt(source, 0), read });
  ends = undefined;
  return result;
}

export function readBytes(source: ByteSource, position: number, byteLength: number): Buffer {
  const bytes = Buffer.allocUnsafe(byteLength);
  source.read(position, bytes);
  return bytes;
}
