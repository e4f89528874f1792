// What a card tells of the files themselves.

export interface CardModel {
  /** Last name of the folder. */
  readonly name: string;
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: string;
  readonly tensors: number;
  readonly bytes: number;
  /** Null where none was computed. */
  readonly seal: CardSeal | null;
  /** Where a record beside the weights says that they are from; null where there is none, or it is of other weights. */
  readonly record: { readonly layout: string; readonly format: string; readonly source: string | null } | null;
}

export interface CardSeal {
  readonly root: string;
  readonly config: string | null;
  readonly roundingOf: { readonly root: string; readonly dtypes: readonly string[] } | null;
}
