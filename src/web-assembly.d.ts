// What Node has of WebAssembly, as far as it is used: TypeScript declares it with the DOM only.
declare namespace WebAssembly {
  type Exports = Readonly<Record<string, unknown>>;
  function validate(bytes: Uint8Array): boolean;
  class Module {
    constructor(bytes: Uint8Array);
    private readonly brand: unknown;
  }
  class Memory {
    constructor(size: { readonly initial: number; readonly maximum?: number; readonly shared?: boolean });
    /** By so many pages; gives back how many there were. */
    grow(pages: number): number;
    /** In bytes of pages of 64 KiB. */
    readonly buffer: ArrayBuffer;
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>);
    readonly exports: Exports;
  }
}
