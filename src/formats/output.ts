// What a writer plans and what the converter executes: files as lists of parts in ascending byte order.

export type OutputPart =
  /** Bytes known beforehand: headers, padding. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** Row-major bytes [begin, end) of target tensor `key`; `observe` sees every chunk in order (CRC-32). */
  | {
      readonly kind: "tensor";
      readonly key: string;
      readonly begin: number;
      readonly end: number;
      readonly observe?: (chunk: Uint8Array) => void;
    }
  /** Bytes of a known length whose value is known only once the parts before it are written (checksums), and `ready`. */
  | {
      readonly kind: "late";
      readonly byteLength: number;
      readonly make: () => Uint8Array;
      readonly ready?: () => Promise<void>;
    };

export interface OutputFile {
  /** Relative to the target directory; for a single-file target, its base name. */
  readonly name: string;
  readonly byteLength: number;
  readonly parts: readonly OutputPart[];
  /** Version of the one file that this is a copy of; a change there concerns no other file of the output. */
  readonly copyOf?: string;
}
