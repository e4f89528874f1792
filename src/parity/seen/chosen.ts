// Experts that tokens chose, over all inputs.

/** Experts that some token chose, by the name of the mixture: a set for each side that ran. */
export type Chosen = ReadonlyMap<string, readonly ReadonlySet<number>[]>;

/** Experts of every token at one mixture on one input, of each side. */
export interface PassChoice {
  readonly name: string;
  readonly experts: readonly Int32Array[];
}

export function chosenIn(choices: readonly PassChoice[]): Chosen {
  const chosen = new Map<string, Set<number>[]>();
  for (const { name, experts } of choices) {
    const sides = chosen.get(name) ?? experts.map(() => new Set<number>());
    for (const [side, own] of experts.entries()) for (const expert of own) sides[side]!.add(expert);
    chosen.set(name, sides);
  }
  return chosen;
}
