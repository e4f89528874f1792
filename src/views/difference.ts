/** One way in which two checkpoints, or a checkpoint and what it should be, differ. */
export interface Difference {
  readonly key: string;
  readonly kind:
    | "missing"
    | "extra"
    | "shape"
    | "dtype"
    | "values"
    | "tie"
    | "dropped"
    | "nan"
    | "infinite"
    | "zero"
    | "constant"
    | "file";
  readonly detail: string;
}
