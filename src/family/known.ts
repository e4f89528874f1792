// What a trainer is known to compute otherwise than transformers: by code, and how far it goes.

export interface KnownCode {
  /** As in a layout's differences: `SLIDING_WINDOW`. */
  readonly code: string;
  /** What was measured of it, for the docs: `0.1 to 2 nats/token at 513 tokens`. */
  readonly measured: string;
  /**
   * The most that it was measured to move the mean KL by, in nats per token, where that is small: then it is accepted
   * unless it moves more. 0 where it moves no logit of the model. Absent where it makes another model: such a one is
   * accepted by name alone.
   */
  readonly smallKlNats?: number;
}
