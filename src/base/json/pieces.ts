// JSON of large documents, made piece by piece: records and plans of large models have megabytes of it, and as one text with
// the objects that it is made of they would be there several times over.

/** Characters that a piece has at least, but for the last one. */
const PIECE_LENGTH = 1 << 14;

/** What `JSON.stringify(value, null, 1)` gives, in pieces. Maps by text stand for objects. */
export function jsonPieces(value: unknown, take: (piece: string) => void): void {
  const writer = new PieceWriter(take);
  writer.value(value, "\n");
  writer.end();
}

/** Bytes of such JSON as UTF-8. */
export function jsonByteLength(value: unknown): number {
  let byteLength = 0;
  jsonPieces(value, (piece) => {
    byteLength += Buffer.byteLength(piece);
  });
  return byteLength;
}

/** The same as one text. */
export function jsonText(value: unknown): string {
  const pieces: string[] = [];
  jsonPieces(value, (piece) => pieces.push(piece));
  return pieces.join("");
}

class PieceWriter {
  private text = "";

  constructor(private readonly take: (piece: string) => void) {}

  end(): void {
    if (this.text !== "") this.take(this.text);
    this.text = "";
  }

  /** @param line what begins a line at the depth of the value */
  value(value: unknown, line: string): void {
    if (typeof value === "string" && value.length > PIECE_LENGTH) this.longText(value);
    else if (Array.isArray(value)) this.list(value, line);
    else if (value instanceof Map) this.object(inOrder(value), line);
    else if (typeof value === "object" && value !== null) this.object(Object.entries(value), line);
    else this.add(JSON.stringify(value) ?? "null");
  }

  private list(items: readonly unknown[], line: string): void {
    let before = `[${line} `;
    for (const item of items) {
      this.add(before);
      this.value(item, `${line} `);
      before = `,${line} `;
    }
    this.add(items.length === 0 ? "[]" : `${line}]`);
  }

  private object(entries: Iterable<readonly [string, unknown]>, line: string): void {
    let before = `{${line} `;
    let count = 0;
    for (const [name, value] of entries) {
      if (value === undefined) continue;
      this.add(before);
      this.add(`${JSON.stringify(name)}: `);
      this.value(value, `${line} `);
      before = `,${line} `;
      count += 1;
    }
    this.add(count === 0 ? "{}" : `${line}}`);
  }

  /** Cut where no character is cut in two: half of one would be written as an escape. */
  private longText(text: string): void {
    this.add('"');
    for (let begin = 0; begin < text.length; ) {
      const isHalf = isHighSurrogate(text.charCodeAt(begin + PIECE_LENGTH - 1));
      const end = begin + PIECE_LENGTH - (isHalf ? 1 : 0);
      this.add(JSON.stringify(text.slice(begin, end)).slice(1, -1));
      begin = end;
    }
    this.add('"');
  }

  private add(text: string): void {
    this.text += text;
    if (this.text.length >= PIECE_LENGTH) this.end();
  }
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;

const INDEX = /^(?:0|[1-9]\d*)$/;

/** As an object has them: names that are numbers come first. */
function inOrder(map: ReadonlyMap<string, unknown>): Iterable<readonly [string, unknown]> {
  for (const name of map.keys()) if (INDEX.test(name)) return Object.entries(Object.fromEntries(map));
  return map;
}
