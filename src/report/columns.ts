// Tables fitted to the width of a terminal: cells of wide columns go on below.

const BETWEEN = 2;
/** A column is not made narrower than this: a table that has too many columns is wider than the terminal. */
const NARROWEST = 8;

/** Widths that fit into `room`, the widest columns cut first; columns that are `fixed` keep theirs. */
export function fittedWidths(widths: readonly number[], fixed: readonly boolean[], room: number): number[] {
  const fitted = [...widths];
  let excess = widths.reduce((sum, width) => sum + width, 0) + BETWEEN * (widths.length - 1) - room;
  while (excess > 0) {
    const free = fitted.map((width, i) => (fixed[i] || width <= NARROWEST ? 0 : width));
    const widest = Math.max(...free);
    if (widest === 0) break;
    const second = Math.max(NARROWEST, ...free.filter((width) => width < widest));
    const those = [...free.keys()].filter((i) => free[i] === widest);
    const cut = Math.min(widest - second, Math.ceil(excess / those.length)) || 1;
    for (const i of those) fitted[i] = widest - cut;
    excess -= cut * those.length;
  }
  return fitted;
}

/** Lines of at most `width` characters, broken behind a space, else behind a dot, a comma or a slash where there is one. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const head = rest.slice(0, width + 1);
    const space = head.lastIndexOf(" ");
    const inWord = Math.max(space, ...[".", ",", "/", "_"].map((c) => head.slice(0, width).lastIndexOf(c)));
    // Numbers and keys stay whole where the line has a space that is not too near its beginning.
    const last = space > width / 2 ? space : inWord;
    // No high surrogate ends a line.
    const hard = width - (/[\ud800-\udbff]$/.test(rest.slice(0, width)) ? 1 : 0);
    const end = last > width / 3 ? last + 1 : hard;
    lines.push(rest.slice(0, end).trimEnd());
    rest = rest.slice(end);
  }
  return [...lines, rest];
}
