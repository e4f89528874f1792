// The other sign: A against -A, a difference taken the other way round.
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

export const signFlipped: TensorFault<{ readonly where: string }> = {
  code: "SIGN_FLIPPED",
  of: "tensor",
  recognise: (pair) =>
    pair.isSeveral && pair.differs((expected, found) => found === -expected) ? { where: whereOf(pair).where } : null,
  words: ({ where }, { one, other }) => `has the other sign in ${one} than in ${other}: ${where}`,
  mend: () => "take the sign once, on the way there or on the way back",
};
