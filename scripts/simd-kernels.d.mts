interface Modules {
  readonly shared: Buffer;
  readonly own: Buffer;
}
export const file: string;
export function source(modules: Modules): string;
export function simdKernels(): Promise<Modules>;
