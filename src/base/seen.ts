/** A file that a run read. */
export interface FileSeen {
  readonly path: string;
  readonly bytes: number;
  /** Of all its bytes; null where it is not known, for the reason in `unhashed`. */
  readonly sha256: string | null;
  /** `headers`: no more than what says where tensors lie. */
  readonly read: "all" | "part" | "headers";
  readonly unhashed?: string;
}
