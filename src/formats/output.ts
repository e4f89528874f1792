// What a writer plans and what the converter executes: files as lists of parts in ascending byte order. Parts are data: any
// of them can be written by anyone at any time, but for those that are made of what others hold.

export type OutputPart =
  /** Bytes known beforehand: headers, padding. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** Row-major bytes [begin, end) of target tensor `key`, the next ones of the data of checksum `sum` of the file. */
  | {
      readonly kind: "tensor";
      readonly key: string;
      readonly begin: number;
      readonly end: number;
      readonly sum?: number;
    }
  /** Bytes made of checksums of the file. */
  | {
      readonly kind: "sums";
      readonly byteLength: number;
      /** From this one on they are counted here. */
      readonly firstSum: number;
      /** Which of these `make` asks for: from a number to before another. */
      readonly needs: readonly [begin: number, end: number];
      readonly make: (crc32: Crc32Of) => Uint8Array;
    }
  /** Bytes of a file that is there. */
  | {
      readonly kind: "copy";
      readonly byteLength: number;
      /** Fills `target` from byte `begin` of the part on. */
      readonly read: (begin: number, target: Uint8Array) => void;
    }
  /** Bytes of a known length whose value is known once all tensors are written. */
  | {
      readonly kind: "late";
      readonly byteLength: number;
      readonly make: () => Promise<Uint8Array>;
    };

export type Crc32Of = (number: number) => number;

export interface OutputFile {
  /** Relative to the target directory; for a single-file target, its base name. */
  readonly name: string;
  readonly byteLength: number;
  readonly parts: readonly OutputPart[];
  /** Version of the one file that this is a copy of; a change there concerns no other file of the output. */
  readonly copyOf?: string;
}

export function lengthOf(part: OutputPart): number {
  switch (part.kind) {
    case "bytes":
      return part.bytes.length;
    case "tensor":
      return part.end - part.begin;
    case "sums":
    case "copy":
    case "late":
      return part.byteLength;
    default:
      return part satisfies never;
  }
}

/** A part, and where it lies. */
export interface PlacedPart {
  readonly part: OutputPart;
  /** Its bytes [begin, end) of the file. */
  readonly begin: number;
  readonly end: number;
  /** Where its bytes begin in the data of its checksum. */
  readonly sumBegin: number;
}

/** The parts of a file that have bytes in [begin, end), in ascending order. */
export function* partsWithin({ parts }: Pick<OutputFile, "parts">, begin = 0, end = Infinity): Generator<PlacedPart> {
  const summed: number[] = [];
  let at = 0;
  for (const part of parts) {
    if (at >= end) return;
    const length = lengthOf(part);
    const sum = part.kind === "tensor" ? part.sum : undefined;
    const sumBegin = sum === undefined ? 0 : (summed[sum] ?? 0);
    if (sum !== undefined) summed[sum] = sumBegin + length;
    if (at + length > begin) yield { part, begin: at, end: at + length, sumBegin };
    at += length;
  }
}
